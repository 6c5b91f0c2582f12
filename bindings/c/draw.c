/* Draws what a prompt says with a Stable Diffusion model, and writes the picture as a PPM file.
 *
 *   draw MODEL PROMPT OUT.ppm [--negative TEXT] [--plan PLAN] [--steps N] [--seed N] [--guidance X] [--width N] [--height N]
 * [--threads N]
 *
 * Build: cc draw.c -o draw $(pkg-config --cflags --libs diffaccel)
 */
#include <diffaccel.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    const char *model, *prompt, *out, *negative, *plan;
    int32_t threads;
    char options[512]; /* what the request says beside its texts: members of a JSON object */
};

/* The session that Ctrl-C stops. da_session_cancel is one of the few functions that a signal handler may call. */
static da_session running;

static void on_interrupt(int number) {
    (void)number;
    da_session_cancel(running);
}

/* Tells what went wrong, in the library's words; returns the status. */
static int32_t failed(const char *what, int32_t status) {
    if (status < 0) fprintf(stderr, "draw: %s: %s: %s\n", what, da_status_name(status), da_last_error());
    return status;
}

/* The stages of a run: the prompt is encoded, the picture is denoised step by step, and decoded. */
static int32_t show_progress(void *user, const da_event *event) {
    (void)user;
    const char *stage = event->stage == DA_STAGE_ENCODE ? "encode" : event->stage == DA_STAGE_DECODE ? "decode" : "denoise";
    fprintf(stderr, "\r%-7s %" PRId32 "/%" PRId32 "  %3.0f %%  %.1f s ", stage, event->step, event->steps,
            100 * event->fraction, event->seconds);
    return 0; /* anything else would stop the run */
}

/* ---- arguments ---- */

static int parse(struct arguments *a, int count, char **words) {
    static const char *const numbers[] = {"steps", "seed", "guidance", "width", "height"};
    if (count < 4 || count % 2) return 0;
    a->model = words[1];
    a->prompt = words[2];
    a->out = words[3];
    strcpy(a->options, "{\"comment\": \"by draw.c\"");
    for (int i = 4; i < count; i += 2) {
        const char *value = words[i + 1];
        char *end;
        double number = strtod(value, &end);
        int is_number = end != value && *end == 0 && strlen(value) < 40, known = 0;
        if (!strcmp(words[i], "--negative")) a->negative = value, known = 1;
        if (!strcmp(words[i], "--plan")) a->plan = value, known = 1;
        if (!strcmp(words[i], "--threads") && is_number && number >= 0 && number <= 256)
            a->threads = (int32_t)number, known = 1;
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
            if (strncmp(words[i], "--", 2) || strcmp(words[i] + 2, numbers[k]) || !is_number) continue;
            size_t used = strlen(a->options);
            /* As it was written: the library says what it may be. */
            snprintf(a->options + used, sizeof a->options - used, ", \"%s\": %s", numbers[k], value);
            known = 1;
        }
        if (!known) return 0;
    }
    size_t used = strlen(a->options);
    return used + 2 <= sizeof a->options && strcat(a->options, "}") != NULL;
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

/* A text as a tensor of bytes: nothing in it needs to be escaped. */
static da_tensor text(const char *name, const char *value) {
    da_tensor t = {0};
    t.struct_size = sizeof t;
    t.name = name;
    t.dtype = DA_U8;
    t.data = (void *)(uintptr_t)value; /* only read */
    t.bytes = strlen(value);
    t.rank = 1;
    t.shape[0] = (int64_t)t.bytes;
    return t;
}

static int32_t draw(const struct arguments *a, da_session session, da_result *result) {
    da_tensor texts[2] = {text("prompt", a->prompt)};
    if (a->negative) texts[1] = text("negative_prompt", a->negative);
    *result = NULL;
    running = session;
    signal(SIGINT, on_interrupt);
    int32_t status =
        da_session_run(session, a->options, strlen(a->options), texts, a->negative ? 2 : 1, show_progress, NULL, result);
    signal(SIGINT, SIG_DFL);
    fprintf(stderr, "\n");
    if (status == DA_CANCELLED) fprintf(stderr, "draw: stopped\n");
    return failed("drawing", status);
}

/* The picture [1,H,W,3]. Returns 0, or -1 with errno. */
static int write_ppm(const char *path, const da_tensor *images) {
    FILE *file = fopen(path, "wb");
    if (!file) return -1;
    size_t bytes = (size_t)(images->shape[1] * images->shape[2] * images->shape[3]);
    fprintf(file, "P6\n%" PRId64 " %" PRId64 "\n255\n", images->shape[2], images->shape[1]);
    int bad = fwrite(images->data, 1, bytes, file) != bytes;
    return fclose(file) || bad ? -1 : 0;
}

static int32_t save(const struct arguments *a, da_result result) {
    da_tensor images = {0};
    images.struct_size = sizeof images;
    int32_t status = da_result_tensor(result, "images", &images);
    if (status != DA_OK) return failed("no picture", status);
    if (images.rank != 4 || images.shape[3] != 3) {
        fprintf(stderr, "draw: %s makes no coloured pictures\n", a->model);
        return DA_UNSUPPORTED;
    }
    if (write_ppm(a->out, &images)) {
        fprintf(stderr, "draw: %s: %s\n", a->out, strerror(errno));
        return DA_IO;
    }
    return DA_OK;
}

int main(int count, char **words) {
    struct arguments a = {0};
    if (!parse(&a, count, words)) {
        fprintf(stderr,
                "usage: %s MODEL PROMPT OUT.ppm [--negative TEXT] [--plan PLAN] [--steps N] [--seed N] [--guidance X] "
                "[--width N] [--height N] [--threads N]\n",
                words[0]);
        return 2;
    }
    da_session session = NULL;
    da_result result = NULL;
    int32_t status = open_session(&a, &session);
    if (status == DA_OK) status = draw(&a, session, &result);
    if (status == DA_OK) status = save(&a, result);
    da_result_close(result);
    da_session_close(session);
    return status == DA_OK ? 0 : 1;
}
