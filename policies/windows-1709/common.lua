--- What later versions of Windows admit to a process container: any TCP, UDP, ICMP and IGMP. What is
--- none of these (SCTP, GRE, ESP, …) stays out, by the default.
return {
  rules = {
    allow.inbound { name = "TCP", protocol = "tcp" },
    allow.inbound { name = "UDP", protocol = "udp" },
    allow.inbound { name = "ICMPv4", protocol = "icmp" },
    allow.inbound { name = "ICMPv6", protocol = "icmp6" },
    allow.inbound { name = "IGMP", protocol = "igmp" },
  },
}
