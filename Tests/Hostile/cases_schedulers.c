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
}
