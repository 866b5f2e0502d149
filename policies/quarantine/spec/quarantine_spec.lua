--- What quarantine lets through, and what it does not.
local packets = require "policy_spec"

for _, type in ipairs { "process", "hyperv" } do
  describe("a " .. type .. " container in quarantine", function()
    packets({ type = type, network = "nat" }, {
      { "out udp 172.16.0.2:40000 -> 172.16.0.1:53", "allow", "DNS" },
      { "out tcp 172.16.0.2:40000 -> 172.16.0.1:53", "allow", "DNS over TCP" },
      { "out udp 172.16.0.2:40000 -> 8.8.8.8:53", "block", "default" },
      { "out tcp 172.16.0.2:40000 -> 172.16.0.9:443", "allow", "updates" },
      { "out tcp 172.16.0.2:40000 -> 10.0.0.9:443", "block", "default" },
      { "out udp 172.16.0.2:68 -> 255.255.255.255:67", "allow", "DHCP" },
      { "out udp [fe80::ff:fe00:2]:546 -> [ff02::1:2]:547", "allow", "DHCPv6" },
      { "out icmp6[143:0] fe80::ff:fe00:2 -> ff02::16", "allow", "MLD" },
      { "out icmp6[133:0] fe80::ff:fe00:2 -> ff02::2", "allow", "router solicitation" },
      { "out icmp[8:0] 172.16.0.2 -> 10.0.0.9", "block", "default" },
      { "in icmp6[134:0] fe80::1 -> fe80::ff:fe00:2", "allow", "router advertisement" },
      { "in icmp[3:4] 10.0.0.9 -> 172.16.0.2", "allow", "ICMPv4 fragmentation needed" },
      { "in icmp6[2:0] fd00::9 -> fd00::2", "allow", "ICMPv6 packet too big" },
      { "in tcp 10.0.0.9:51000 -> 172.16.0.2:80", "block", "default" },
      { {
        "out udp 172.16.0.2:40000 -> 172.16.0.1:53", "in udp 172.16.0.1:53 -> 172.16.0.2:40000",
      }, "allow", "flow" },
    })
  end)
end
