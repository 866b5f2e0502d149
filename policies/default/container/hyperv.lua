--- Hyper-V containers have a kernel, and with it a firewall, of their own: this one stands open, and
--- what is to be closed is closed by adding rules. Published ports are rules all the same, so that
--- `rules` shows them and a default of "block" put here keeps them open.
return {
  default = { inbound = "allow", outbound = "allow" },

  on = {
    --- Each published port is one hole, on the container's own port.
    attach = function(container, endpoint)
      for _, port in ipairs(container.published) do
        endpoint:add(allow.inbound {
          protocol = port.protocol, local_port = port.container, name = "published " .. port.host,
        })
      end
    end,
  },
}
