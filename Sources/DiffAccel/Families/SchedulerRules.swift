import DiffCheckpoint

/// What is known of the keys of schedulers.
enum SchedulerRules {
    /// Those of the process, which all samplers have.
    static let process = [
        "num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "trained_betas", "prediction_type",
    ]

    /// Those that change nothing that is computed here.
    static let harmless = [
        // Who wrote the file.
        "_class_name", "_diffusers_version", "type",
        // Requests say it.
        "steps",
        // Of dynamic thresholding, which must be off.
        "dynamic_thresholding_ratio", "sample_max_value", "variance_type",
        // Switches of other classes that are off, or that Stable Diffusion's files carry from one class to the next.
        "thresholding", "skip_prk_steps", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas", "flow_shift",
        "use_dynamic_shifting", "time_shift_type", "predict_epsilon", "eta", "lambda_min_clipped", "solver_p",
        // Seeds are the request's.
        "noise_sampler_seed",
    ]

    /// Keys of which only these values are supported, and what to do about others.
    static let only: [(key: String, values: [JSON], meaning: String)] = [
        (
            "thresholding", [.bool(false)],
            "dynamic thresholding is not supported; clip_sample bounds images too, or set it to false"
        ),
        (
            "use_beta_sigmas", [.bool(false)],
            "σ by a beta distribution is not supported; use_karras_sigmas is the nearest"
        ),
        ("use_lu_lambdas", [.bool(false)], "Lu's λ grid is not supported; use_karras_sigmas is the nearest"),
        (
            "use_flow_sigmas", [.bool(false)],
            "a flow-matching model cannot be sampled as a diffusion model; no sampler of flows is there for this family yet"
        ),
        (
            "use_dynamic_shifting", [.bool(false)],
            "σ that depend on the picture's size are not supported; set it to false"
        ),
        (
            "predict_epsilon", [.bool(true)],
            "an old name of prediction_type; write \"prediction_type\": \"sample\" instead of it"
        ),
        (
            "algorithm_type", [.string("dpmsolver++"), .string("sde-dpmsolver++")],
            "the solvers on noise are not supported; dpmsolver++ and sde-dpmsolver++ solve the same equations"
        ),
        (
            "lambda_min_clipped", [.number(-.infinity), .string("-Infinity")],
            "clipped λ are not supported; final_sigmas_type sigma_min keeps clear of the end too"
        ),
        ("solver_p", [], "another solver as predictor is not supported; leave it out"),
        ("eta", [.integer(0), .number(0)], "give eta with the request"),
    ]
}
