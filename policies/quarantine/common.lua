--- What a container in quarantine may still ask for: its address and names. Whoever else it has to
--- reach is named here, one line each.
return {
  rules = {
    allow.outbound { name = "DHCP", protocol = "udp", local_port = 68, remote_port = 67 },
    allow.outbound { name = "DHCPv6", protocol = "udp", local_port = 546, remote_port = 547 },
    allow.outbound { name = "DNS", protocol = "udp", remote = "DNS", remote_port = 53 },
    allow.outbound { name = "DNS over TCP", protocol = "tcp", remote = "DNS", remote_port = 53 },
    -- An address of its own is announced and kept by these.
    allow.outbound { name = "MLD", protocol = "icmp6", icmp = { 131, 132, 143 } },
    allow.outbound { name = "router solicitation", protocol = "icmp6", icmp = 133 },
    -- A repository on the same network, say; replace it by what yours needs.
    allow.outbound {
      name = "updates", protocol = "tcp", remote = "LocalSubnet", remote_port = 443,
    },

    allow.inbound {
      name = "router advertisement", protocol = "icmp6", icmp = 134, remote = "fe80::/64",
    },
    allow.inbound { name = "ICMPv4 fragmentation needed", protocol = "icmp", icmp = "3:4" },
    allow.inbound { name = "ICMPv6 packet too big", protocol = "icmp6", icmp = 2 },
  },
}
