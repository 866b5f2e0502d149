--- policy.lua - `bulkhead policy VERB`: policies as code. Each verb is a file of its own beside this.
return {
  verbs = {
    (require "commands.policy_check"),
    (require "commands.policy_test"),
    (require "commands.policy_diff"),
    (require "commands.policy_reload"),
    (require "commands.policy_learn"),
  },
}
