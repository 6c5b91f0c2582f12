/* Makes the sound that a prompt describes with AudioLDM or AudioLDM 2, and writes it as a WAV file, each stretch as soon as it
 * is finished.
 *
 *   sound MODEL PROMPT OUT.wav [--negative TEXT] [--plan PLAN] [--seconds X] [--steps N] [--seed N] [--guidance X] [--threads
 * N]
 *
 * Build: cc sound.c -o sound $(pkg-config --cflags --libs diffaccel) -lm
 */
#include <diffaccel.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    const char *model, *prompt, *out, *negative, *plan;
    int32_t threads;
    char options[512]; /* what the request says beside its texts: members of a JSON object */
};

/* A WAV file that grows. */
struct wav {
    FILE *file;
    int64_t values;
    int failed;
};

/* The session that Ctrl-C stops. da_session_cancel is one of the few functions that a signal handler may call. */
static da_session running;

static void on_interrupt(int number) {
    (void)number;
    da_session_cancel(running);
}

/* Tells what went wrong, in the library's words; returns the status. */
static int32_t failed(const char *what, int32_t status) {
    if (status < 0) fprintf(stderr, "sound: %s: %s: %s\n", what, da_status_name(status), da_last_error());
    return status;
}

/* ---- the file ---- */

/* `value` in `count` bytes, the lowest first. */
static void put(FILE *file, uint32_t value, int count) {
    for (int i = 0; i < count; i++) fputc((int)(value >> (8 * i) & 255), file);
}

/* What stands before the values: one channel of 16 bits. */
static void put_header(FILE *file, uint32_t rate, int64_t values) {
    uint32_t bytes = (uint32_t)(2 * values);
    fwrite("RIFF", 1, 4, file);
    put(file, 36 + bytes, 4);
    fwrite("WAVEfmt ", 1, 8, file);
    put(file, 16, 4);
    put(file, 1, 2);
    put(file, 1, 2);
    put(file, rate, 4);
    put(file, 2 * rate, 4);
    put(file, 2, 2);
    put(file, 16, 2);
    fwrite("data", 1, 4, file);
    put(file, bytes, 4);
}

/* ---- the run ---- */

/* Told how far the run is; stretches of the sound come while the vocoder goes on. */
static int32_t on_event(void *user, const da_event *event) {
    struct wav *wav = user;
    const char *stages[] = {"denoise", "decode", "scale", "unmask", "encode", "vocode"};
    fprintf(stderr, "\r%-7s %3.0f %%  %.1f s ", event->stage >= 0 && event->stage < 6 ? stages[event->stage] : "?",
            100 * event->fraction, event->seconds);
    if (event->stage != DA_STAGE_VOCODE) return 0;
    da_tensor audio = {0};
    audio.struct_size = sizeof audio;
    if (da_event_tensor(event, "audio", &audio) != DA_OK) return 1; /* stops the run */
    const float *values = audio.data;
    for (int64_t i = 0; i < audio.shape[0]; i++) {
        float value = values[i] > 1 ? 1 : values[i] < -1 ? -1 : values[i];
        put(wav->file, (uint32_t)lrintf(value * 32767), 2);
    }
    wav->values += audio.shape[0];
    wav->failed = ferror(wav->file);
    return wav->failed;
}

static int parse(struct arguments *a, int count, char **words) {
    static const char *const numbers[] = {"seconds", "steps", "seed", "guidance"};
    if (count < 4 || count % 2) return 0;
    a->model = words[1];
    a->prompt = words[2];
    a->out = words[3];
    strcpy(a->options, "{\"comment\": \"by sound.c\"");
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

/* Values of a second: a number behind its name in the statistics. 0 when the model makes no sounds. */
static uint32_t sample_rate(da_result result) {
    size_t needed = 0;
    da_result_stats(result, NULL, 0, &needed);
    char *stats = malloc(needed + 1);
    const char *name = "\"sample_rate\":", *found = NULL;
    if (stats && da_result_stats(result, stats, needed, &needed) == DA_OK) found = strstr(stats, name);
    uint32_t rate = found ? (uint32_t)strtoul(found + strlen(name), NULL, 10) : 0;
    free(stats);
    return rate;
}

static int32_t make(const struct arguments *a, da_session session, struct wav *wav) {
    da_tensor texts[2] = {text("prompt", a->prompt)};
    da_result result = NULL;
    if (a->negative) texts[1] = text("negative_prompt", a->negative);
    put_header(wav->file, 0, 0); /* the real one when the length is known */
    running = session;
    signal(SIGINT, on_interrupt);
    int32_t status =
        da_session_run(session, a->options, strlen(a->options), texts, a->negative ? 2 : 1, on_event, wav, &result);
    signal(SIGINT, SIG_DFL);
    fprintf(stderr, "\n");
    if (status == DA_CANCELLED) fprintf(stderr, "sound: %s: %s\n", a->out, wav->failed ? "cannot be written" : "stopped");
    failed("making the sound", status);
    uint32_t rate = status == DA_OK ? sample_rate(result) : 0;
    if (status == DA_OK && !rate) {
        fprintf(stderr, "sound: %s makes no sounds\n", a->model);
        status = DA_UNSUPPORTED;
    }
    if (status == DA_OK) {
        rewind(wav->file);
        put_header(wav->file, rate, wav->values);
    }
    da_result_close(result);
    return status;
}

int main(int count, char **words) {
    struct arguments a = {0};
    if (!parse(&a, count, words)) {
        fprintf(stderr,
                "usage: %s MODEL PROMPT OUT.wav [--negative TEXT] [--plan PLAN] [--seconds X] [--steps N] [--seed N] "
                "[--guidance X] [--threads N]\n",
                words[0]);
        return 2;
    }
    da_session session = NULL;
    struct wav wav = {0};
    int32_t status = open_session(&a, &session);
    if (status == DA_OK && !(wav.file = fopen(a.out, "wb+"))) {
        fprintf(stderr, "sound: %s: %s\n", a.out, strerror(errno));
        status = DA_IO;
    }
    if (status == DA_OK) status = make(&a, session, &wav);
    if (wav.file && fclose(wav.file) && status == DA_OK) {
        fprintf(stderr, "sound: %s: %s\n", a.out, strerror(errno));
        status = DA_IO;
    }
    if (wav.file && status != DA_OK) remove(a.out);
    da_session_close(session);
    return status == DA_OK ? 0 : 1;
}
