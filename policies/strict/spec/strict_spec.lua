--- Windows' group Core Networking and published ports; nothing answers a ping.
local packets = require "policy_spec"

describe("a process container", function()
  packets({ type = "process", addresses = { "172.16.0.2/16", "fd00:16::2/64" }, publish = { "8080:80/tcp" } }, {
    { "in udp 172.16.0.1:67 -> 172.16.0.2:68", "allow", "DHCP" },
    { "in udp 172.16.0.1:69 -> 172.16.0.2:68", "block", "default" },
    { "in udp [fe80::1]:547 -> [fe80::ff:fe00:2]:546", "allow", "DHCPv6" },
    { "in icmp[8:0] 10.0.0.9 -> 172.16.0.2", "block", "default" },
    { "in icmp[3:4] 10.0.0.9 -> 172.16.0.2", "allow", "ICMPv4 fragmentation needed" },
    { "in icmp[3:3] 10.0.0.9 -> 172.16.0.2", "block", "default" },
    { "in icmp6[128:0] fd00::9 -> fd00:16::2", "block", "default" },
    { "in icmp6[1:0] fd00::9 -> fd00:16::2", "allow", "ICMPv6 destination unreachable" },
    { "in icmp6[2:0] fd00::9 -> fd00:16::2", "allow", "ICMPv6 packet too big" },
    { "in icmp6[3:0] fd00::9 -> fd00:16::2", "allow", "ICMPv6 time exceeded" },
    { "in icmp6[4:0] fd00::9 -> fd00:16::2", "allow", "ICMPv6 parameter problem" },
    { "in icmp6[133:0] fd00::9 -> fd00:16::2", "allow", "router solicitation" },
    { "in icmp6[134:0] fe80::1 -> fd00:16::2", "allow", "router advertisement" },
    { "in icmp6[134:0] fd00::9 -> fd00:16::2", "block", "default" },
    { "in icmp6[135:0] fe80::1 -> fd00:16::2", "allow", "neighbour" },
    { "in icmp6[130:0] fe80::1 -> ff02::1", "allow", "MLD" },
    { "in icmp6[130:0] fd00::9 -> ff02::1", "block", "default" },
    { "in igmp 172.16.0.1 -> 224.0.0.1", "allow", "IGMP" },
    { "in tcp 10.0.0.9:51000 -> 172.16.0.2:80", "allow", "published 8080" },
    { "out tcp 172.16.0.2:40000 -> 10.0.0.9:443", "allow", "default" },
    { { "out udp 172.16.0.2:40000 -> 8.8.8.8:53", "in udp 8.8.8.8:53 -> 172.16.0.2:40000" }, "allow", "flow" },
    { "out tcp 172.16.0.9:40000 -> 10.0.0.9:443", "block", "spoof" },
  })
end)

for _, type in ipairs { "process", "hyperv" } do
  describe("a " .. type .. " container on an overlay", function()
    packets({ type = type, network = "overlay" }, {
      { "in sctp 10.9.0.3:51000 -> 10.9.0.2:7000", "allow", "overlay allow all" },
      { "out tcp 10.9.0.2:40000 -> 10.9.0.3:80", "allow", "overlay allow all" },
    })
  end)
end

describe("a hyperv container", function()
  packets({ type = "hyperv", publish = { "8080:80/tcp" } }, {
    { "in tcp 10.0.0.9:51000 -> 172.16.0.2:80", "allow", "published 8080" },
    { "in tcp 10.0.0.9:51000 -> 172.16.0.2:81", "allow", "default" },
  })
end)
