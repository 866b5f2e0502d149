--- What a network stack needs to come up and stay up, and no more: the group "Core Networking" of
--- Windows Firewall. Nothing here answers a ping.
---
--- There is no rule for DNS: an answer belongs to the flow its query started.
return {
  rules = {
    allow.inbound { name = "DHCP", protocol = "udp", local_port = 68, remote_port = 67 },
    allow.inbound { name = "DHCPv6", protocol = "udp", local_port = 546, remote_port = 547 },
    allow.inbound { name = "IGMP", protocol = "igmp" },

    -- Without these, paths with a smaller MTU swallow connections.
    allow.inbound { name = "ICMPv4 fragmentation needed", protocol = "icmp", icmp = "3:4" },
    allow.inbound { name = "ICMPv6 destination unreachable", protocol = "icmp6", icmp = 1 },
    allow.inbound { name = "ICMPv6 packet too big", protocol = "icmp6", icmp = 2 },
    allow.inbound { name = "ICMPv6 time exceeded", protocol = "icmp6", icmp = 3 },
    allow.inbound { name = "ICMPv6 parameter problem", protocol = "icmp6", icmp = 4 },

    allow.inbound { name = "router solicitation", protocol = "icmp6", icmp = 133 },
    -- A router speaks from its link-local address; anyone else is not on this link.
    allow.inbound {
      name = "router advertisement", protocol = "icmp6", icmp = 134, remote = "fe80::/64",
    },
    allow.inbound { name = "neighbour solicitation", protocol = "icmp6", icmp = 135 },
    allow.inbound { name = "neighbour advertisement", protocol = "icmp6", icmp = 136 },
    allow.inbound {
      name = "MLD", protocol = "icmp6", icmp = { 130, 131, 132, 143 }, remote = "LocalSubnet",
    },
  },
}
