--- An overlay's endpoints admit everything: what may talk is decided by who is on the overlay.
--- These are rules and not defaults, so they show in `rules`; at the last priority there is, any
--- block still wins.
return {
  rules = {
    allow.inbound { name = "overlay allow all", priority = 65535 },
    allow.outbound { name = "overlay allow all", priority = 65535 },
  },
}
