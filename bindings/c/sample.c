/* Samples pictures with a diffusion model and writes them as a PPM file.
 *
 *   sample MODEL LABEL[,LABEL...] OUT.ppm [--plan PLAN.json] [--steps N] [--seed N] [--guidance X] [--threads N]
 *
 * Build: cc sample.c -o sample $(pkg-config --cflags --libs diffaccel)
 */
#include <diffaccel.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    const char *model, *labels, *out, *plan;
    int32_t steps, threads;
    uint64_t seed;
    double guidance;
    int has_guidance;
};

/* The session that Ctrl-C stops. da_session_cancel is one of the few functions that a signal handler may call. */
static da_session running;

static void on_interrupt(int number) {
    (void)number;
    da_session_cancel(running);
}

/* Tells what went wrong, in the library's words; returns the status. */
static int32_t failed(const char *what, int32_t status) {
    if (status < 0) fprintf(stderr, "sample: %s: %s: %s\n", what, da_status_name(status), da_last_error());
    return status;
}

static int32_t show_progress(void *user, const da_event *event) {
    (void)user;
    fprintf(stderr, "\r%s %" PRId32 "/%" PRId32 "  %3.0f %%  %.1f s ", event->stage == DA_STAGE_DECODE ? "decoding" : "step",
            event->step, event->steps, 100 * event->fraction, event->seconds);
    return 0; /* anything else would stop the run */
}

/* ---- arguments ---- */

static int parse_number(const char *text, double *value) {
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == 0;
}

static int parse(struct arguments *a, int count, char **words) {
    if (count < 4) return 0;
    a->model = words[1];
    a->labels = words[2];
    a->out = words[3];
    a->steps = 50;
    for (int i = 4; i < count; i += 2) {
        double value = 0;
        if (i + 1 >= count) return 0;
        if (!strcmp(words[i], "--plan")) {
            a->plan = words[i + 1];
            continue;
        }
        if (!parse_number(words[i + 1], &value) || value < 0 || value > 2147483647.0) return 0;
        if (!strcmp(words[i], "--steps")) a->steps = (int32_t)value;
        else if (!strcmp(words[i], "--seed")) a->seed = (uint64_t)value;
        else if (!strcmp(words[i], "--threads")) a->threads = (int32_t)value;
        else if (!strcmp(words[i], "--guidance")) a->guidance = value, a->has_guidance = 1;
        else return 0;
    }
    return 1;
}

/* ---- the steps from a folder to a picture ---- */

static int32_t open_session(const struct arguments *a, da_session *session) {
    da_model model = NULL;
    da_plan plan = NULL;
    da_session_options options;
    *session = NULL;
    int32_t status = da_model_open(a->model, NULL, &model);
    if (status == DA_OK && a->plan) status = da_plan_load(a->plan, &plan);
    if (status == DA_OK) status = da_session_options_init(&options, sizeof options);
    if (status == DA_OK) {
        options.threads = a->threads;
        status = da_session_create(model, plan, &options, session);
    }
    failed(a->model, status); /* before the calls below replace the text */
    /* The session keeps both alive. Closing null, when something failed, is refused and does no harm. */
    da_plan_close(plan);
    da_model_close(model);
    return status;
}

static int32_t sample(const struct arguments *a, da_session session, da_result *result) {
    /* What is not said is as the model has it; what a model takes is in da_model_describe's "request". */
    char request[4096], guidance[40] = "";
    if (a->has_guidance) snprintf(guidance, sizeof guidance, ", \"guidance\": %.17g", a->guidance);
    int length = snprintf(request, sizeof request, "{\"labels\": [%s], \"steps\": %" PRId32 ", \"seed\": %" PRIu64 "%s}",
                          a->labels, a->steps, a->seed, guidance);
    *result = NULL;
    if (length >= (int)sizeof request) {
        fprintf(stderr, "sample: too many labels\n");
        return DA_INVALID_ARGUMENT;
    }
    running = session;
    signal(SIGINT, on_interrupt);
    int32_t status = da_session_run(session, request, (size_t)length, NULL, 0, show_progress, NULL, result);
    signal(SIGINT, SIG_DFL);
    fprintf(stderr, "\n");
    if (status == DA_CANCELLED) fprintf(stderr, "sample: stopped\n");
    return failed("sampling", status);
}

/* Pictures side by side, as colour whatever the model's channels are. Returns 0, or -1 with errno. */
static int write_ppm(const char *path, const da_tensor *images) {
    const int64_t n = images->shape[0], height = images->shape[1], width = images->shape[2], channels = images->shape[3];
    const unsigned char *data = images->data;
    FILE *file = fopen(path, "wb");
    if (!file) return -1;
    fprintf(file, "P6\n%" PRId64 " %" PRId64 "\n255\n", n * width, height);
    for (int64_t y = 0; y < height; y++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t x = 0; x < width; x++) {
                const unsigned char *pixel = data + ((i * height + y) * width + x) * channels;
                for (int c = 0; c < 3; c++) putc(pixel[channels == 3 ? c : 0], file);
            }
    int bad = ferror(file);
    return fclose(file) || bad ? -1 : 0;
}

static int32_t save(const struct arguments *a, da_result result) {
    da_tensor images = {0};
    images.struct_size = sizeof images;
    int32_t status = da_result_tensor(result, "images", &images);
    if (status != DA_OK) return failed("no pictures", status);
    if (write_ppm(a->out, &images)) {
        fprintf(stderr, "sample: %s: %s\n", a->out, strerror(errno));
        return DA_IO;
    }
    return DA_OK;
}

int main(int count, char **words) {
    struct arguments a = {0};
    if (!parse(&a, count, words)) {
        fprintf(stderr,
                "usage: %s MODEL LABEL[,LABEL...] OUT.ppm [--plan PLAN.json] [--steps N] [--seed N] [--guidance X] "
                "[--threads N]\n",
                words[0]);
        return 2;
    }
    da_session session = NULL;
    da_result result = NULL;
    int32_t status = open_session(&a, &session);
    if (status == DA_OK) status = sample(&a, session, &result);
    if (status == DA_OK) status = save(&a, result);
    da_result_close(result);
    da_session_close(session);
    return status == DA_OK ? 0 : 1;
}
