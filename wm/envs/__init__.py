"""The dream and the real track as Gymnasium environments; importing this package registers them.

`gymnasium.make("wm.envs:CarRacingDream-v0")`, `gymnasium.make_vec("wm.envs:CarRacingDream-v0", num_envs=64)`
and `gymnasium.make("wm.envs:RealCarRacing-v0")` have equal spaces and units, so that a policy trained in one
drives in the other without changes. Actions are those of CarRacing-v3; each lasts `action_repeat` frames.

Options of all three: `models`, the folder of an agent, by default "published"; `observation`, "latent" or
"pixels"; `render_mode`. The observation "latent" is a controller's input: (z, h), the latent of the current
frame and the hidden state of the watcher, the agent's own RNN. "pixels" is the picture, 64 x 64 RGB: the
decoded latent in the dream, the frame itself on the real track. Those of the dream alone:
`wm.envs.options.DreamOptions`.
"""

import gymnasium

gymnasium.register(
    "CarRacingDream-v0",
    entry_point="wm.envs.dream:CarRacingDream",
    vector_entry_point="wm.envs.vector:CarRacingDreams",
)
gymnasium.register("RealCarRacing-v0", entry_point="wm.envs.track:RealCarRacing")
