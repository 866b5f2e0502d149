--- Later Windows: TCP, UDP, ICMP and IGMP enter; other protocols do not.
local packets = require "policy_spec"

describe("a process container", function()
  packets({ type = "process", addresses = { "172.16.0.2/16", "fd00:16::2/64" }, publish = { "8080:80/tcp" } }, {
    { "in udp 172.16.0.1:67 -> 172.16.0.2:68", "allow", "UDP" },
    { "in udp 172.16.0.1:69 -> 172.16.0.2:68", "allow", "UDP" },
    { "in udp [fe80::1]:547 -> [fe80::ff:fe00:2]:546", "allow", "UDP" },
    { "in tcp 10.0.0.9:51000 -> 172.16.0.2:81", "allow", "TCP" },
    { "in icmp[8:0] 10.0.0.9 -> 172.16.0.2", "allow", "ICMPv4" },
    { "in icmp6[128:0] fd00::9 -> fd00:16::2", "allow", "ICMPv6" },
    { "in igmp 172.16.0.1 -> 224.0.0.1", "allow", "IGMP" },
    { "in sctp 10.0.0.9:51000 -> 172.16.0.2:80", "block", "default" },
    { "in 47 10.0.0.9 -> 172.16.0.2", "block", "default" },
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
