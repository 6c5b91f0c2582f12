/* The part of a config that says which process a model was trained for, in our layout and in that of diffusers. */
#include "hostile.h"

static const struct hostile ours[] = {
    {"good", "{\"schedule\":\"linear\",\"beta_start\":0.0001,\"beta_end\":0.02,\"train_steps\":1000}", 0, DA_OK, ""},
    {"empty", "{}", 0, DA_OK, ""},
    {"null", "null", 0, DA_OK, ""},
    {"an array", "[]", 0, DA_FORMAT, "diffusion: expected an object"},
    {"a text", "\"linear\"", 0, DA_FORMAT, "diffusion: expected an object"},
    {"a number", "1000", 0, DA_FORMAT, "diffusion: expected an object"},
    {"no such schedule", "{\"schedule\":\"quadratic\"}", 0, DA_FORMAT, "diffusion.schedule"},
    {"schedule as number", "{\"schedule\":1}", 0, DA_FORMAT, "diffusion.schedule"},
    {"schedule empty", "{\"schedule\":\"\"}", 0, DA_FORMAT, "diffusion.schedule"},
    {"schedule twice", "{\"schedule\":\"linear\",\"schedule\":\"linear\"}", 0, DA_FORMAT, "duplicate"},
};

/* Numbers that lie outside of what each member takes. */
static void members(const char *path, size_t size, const char *object, const char *const *names, const char *const *values) {
    for (; *names; names++)
        for (const char *const *value = values; *value; value++) {
            char id[96], text[1024], part[96];
            snprintf(id, sizeof id, "%s.%s = %s", object, *names, *value);
            snprintf(text, sizeof text, "%s,\"%s\":{\"%s\":%s}}", tiny_transformer_config, object, *names, *value);
            snprintf(part, sizeof part, "options.config: %s.%s", object, *names);
            int unreadable = !strcmp(*value, "1e400");
            hostile_open(id, path, NULL, text, size, DA_FORMAT, unreadable ? "options.config: bad JSON at line 1" : part);
        }
}

void cases_schedulers(void) {
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    const char *path = hostile_write("scheduler.weights", image, size);
    free(image);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s,\"diffusion\":%s}", tiny_transformer_config, ours[i].text);
        hostile_open(ours[i].id, path, NULL, text, size, ours[i].status, ours[i].part);
    }
    static const char *const wrong[] = {"-1",
                                        "0",
                                        "1e9",
                                        "1e308",
                                        "1e400",
                                        "5e-324",
                                        "9223372036854775807",
                                        "\"1\"",
                                        "[1]",
                                        "{}",
                                        "true",
                                        "false",
                                        "18446744073709551616",
                                        NULL};
    members(path, size, "diffusion", (const char *const[]){"beta_start", "beta_end", "train_steps", NULL}, wrong);
    members(path, size, "scheduler", (const char *const[]){"beta_start", "beta_end", "num_train_timesteps", NULL}, wrong);
    members(path, size, "scheduler", (const char *const[]){"beta_schedule", NULL},
            (const char *const[]){"\"sigmoid\"", "1", "[]", "\"LINEAR\"", "true", NULL});
    members(path, size, "scheduler", (const char *const[]){"clip_sample_range", "sigma_min", "sigma_max", NULL}, wrong);
    static const char *const words[] = {"\"\"", "\"no such word\"", "1", "[]", "{}", "true", NULL};
    members(path, size, "scheduler",
            (const char *const[]){"prediction_type", "timestep_spacing", "final_sigmas_type", "interpolation_type",
                                  "timestep_type", "solver_type", NULL},
            words);
    /* A flag may be written as 1 or 0, as older files have it. */
    static const char *const no_flags[] = {"2", "-1", "0.5", "1e400", "\"true\"", "\"1\"", "[]", "{}", NULL};
    members(path, size, "scheduler",
            (const char *const[]){"clip_sample", "set_alpha_to_one", "rescale_betas_zero_snr", "use_karras_sigmas",
                                  "lower_order_final", "predict_x0", "skip_prk_steps", NULL},
            no_flags);
    static const char *const no_lists[] = {"1", "{}", "\"linear\"", "[\"a\"]", "[2]", "[-1]", "[[0.1]]", "[null]", NULL};
    members(path, size, "scheduler", (const char *const[]){"trained_betas", NULL}, no_lists);
    static const struct hostile theirs[] = {
        {"a class", "{\"_class_name\":\"EulerDiscreteScheduler\"}", 0, DA_OK, ""},
        {"true as 1", "{\"clip_sample\":1,\"set_alpha_to_one\":0}", 0, DA_OK, ""},
        {"no such class", "{\"_class_name\":\"EulerScheduler\"}", 0, DA_UNSUPPORTED, "scheduler._class_name: EulerScheduler"},
        {"a flow", "{\"_class_name\":\"FlowMatchEulerDiscreteScheduler\"}", 0, DA_UNSUPPORTED, "flow"},
        {"a class that is no text", "{\"_class_name\":1}", 0, DA_FORMAT, "scheduler._class_name"},
        {"thresholding", "{\"thresholding\":true}", 0, DA_UNSUPPORTED, "scheduler.thresholding"},
        {"betas of no process", "{\"trained_betas\":[0.1,0.2]}", 0, DA_OK, ""},
        {"betas beside another number", "{\"trained_betas\":[0.1],\"num_train_timesteps\":2}", 0, DA_FORMAT, "trained_betas"},
        {"pure noise and epsilon", "{\"rescale_betas_zero_snr\":true}", 0, DA_UNSUPPORTED, "rescale_betas_zero_snr"},
        {"one step that ends in noise",
         "{\"rescale_betas_zero_snr\":true,\"prediction_type\":\"sample\",\"num_train_timesteps\":1}", 0, DA_FORMAT,
         "rescale_betas_zero_snr"},
        {"a grid upside down", "{\"sigma_min\":2,\"sigma_max\":1}", 0, DA_FORMAT, "sigma_min"},
        {"pure noise as a number", "{\"rescale_betas_zero_snr\":1}", 0, DA_UNSUPPORTED, "rescale_betas_zero_snr"},
        {"flags as numbers", "{\"clip_sample\":0,\"set_alpha_to_one\":1,\"rescale_betas_zero_snr\":0}", 0, DA_OK, ""},
        {"two grids", "{\"use_karras_sigmas\":true,\"use_exponential_sigmas\":true}", 0, DA_FORMAT, "use_exponential_sigmas"},
    };
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s,\"scheduler\":%s}", tiny_transformer_config, theirs[i].text);
        hostile_open(theirs[i].id, path, NULL, text, size, theirs[i].status, theirs[i].part);
    }
}
