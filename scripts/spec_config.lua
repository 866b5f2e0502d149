--- spec_config.lua - busted's configuration for policies' specs: none, instead of one that lies about.
return {}
