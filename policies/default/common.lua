--- What a network stack needs to come up and stay up, admitted from anyone.
---
--- There is no rule for DNS: an answer belongs to the flow its query started. A rule for "source
--- port 53" would admit whatever an attacker sends from that port.
return {
  rules = {
    allow.inbound { name = "DHCP", protocol = "udp", local_port = 68, remote_port = 67 },
    allow.inbound { name = "DHCPv6", protocol = "udp", local_port = 546, remote_port = 547 },
    allow.inbound { name = "ICMPv4", protocol = "icmp" },
    allow.inbound { name = "ICMPv6", protocol = "icmp6" },
    allow.inbound { name = "IGMP", protocol = "igmp" },
    allow.inbound { name = "MLD", protocol = "icmp6", icmp = { 130, 131, 132, 143 } },
  },
}
