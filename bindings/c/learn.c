/* Learns on a model and writes what was learned: a plan (router, blocks to keep), or a checkpoint (pruned, or with trained
 * weights).
 *
 *   learn MODEL SETTINGS.json OUT [--state FILE] [--threads N] [--memory MIB]
 *
 * OUT ends in .json for a plan, else it is the folder of a checkpoint. SETTINGS.json is described in diffaccel.h, for example
 *
 *   {"method": "router", "data": {"path": "latents.safetensors"}, "steps": 1000, "batch": 8}
 *
 * With --state, Ctrl-C or the death of the process loses nothing: the same command goes on where it was.
 *
 * Build: cc learn.c -o learn $(pkg-config --cflags --libs diffaccel)
 */
#include <diffaccel.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    const char *model, *settings, *out, *state;
    da_trainer_options options;
};

/* The trainer that Ctrl-C stops. da_trainer_cancel is one of the few functions that a signal handler may call. */
static da_trainer running;

static void on_interrupt(int number) {
    (void)number;
    da_trainer_cancel(running);
}

/* Tells what went wrong, in the library's words; returns the status. */
static int32_t failed(const char *what, int32_t status) {
    if (status < 0) fprintf(stderr, "learn: %s: %s: %s\n", what, da_status_name(status), da_last_error());
    return status;
}

static int32_t show_progress(void *user, const da_training_event *event) {
    (void)user;
    /* event->json has all of it, with the terms of the loss: a line of a log. */
    fprintf(stderr, "\rstep %" PRId64 "/%" PRId64 "  loss %.6g  gradient %.3g  %.1f s ", event->step, event->steps, event->loss,
            event->gradient_norm, event->seconds);
    return 0; /* anything else would stop the run */
}

static int parse(struct arguments *a, int count, char **words) {
    if (count < 4 || da_trainer_options_init(&a->options, sizeof a->options) != DA_OK) return 0;
    a->model = words[1];
    a->settings = words[2];
    a->out = words[3];
    for (int i = 4; i < count; i += 2) {
        if (i + 1 >= count) return 0;
        if (!strcmp(words[i], "--state")) a->state = words[i + 1];
        else if (!strcmp(words[i], "--threads")) a->options.threads = (int32_t)strtol(words[i + 1], NULL, 10);
        else if (!strcmp(words[i], "--memory")) a->options.memory_limit = strtoull(words[i + 1], NULL, 10) << 20;
        else return 0;
    }
    return 1;
}

/* The settings' text, with the state's file put in behind its opening brace. To be freed; null when there is none. */
static char *read_settings(const struct arguments *a) {
    FILE *file = fopen(a->settings, "rb");
    char *text = calloc(1, 1 << 16), *merged = calloc(1, 1 << 17);
    size_t length = file && text ? fread(text, 1, (1 << 16) - 1, file) : 0;
    if (file) fclose(file);
    const char *brace = length ? strchr(text, '{') : NULL;
    if (!brace || !merged) {
        fprintf(stderr, "learn: %s: no settings\n", a->settings);
        free(merged);
        merged = NULL;
    } else if (a->state) {
        snprintf(merged, 1 << 17, "{\"state\": \"%s\", \"resume\": true, %s", a->state, brace + 1);
    } else {
        strcpy(merged, text);
    }
    free(text);
    return merged;
}

/* A trainer, after its memory has been told. */
static int32_t create(const struct arguments *a, const char *settings, da_trainer *trainer) {
    char estimate[512];
    int32_t status =
        da_trainer_estimate(a->model, settings, strlen(settings), NULL, &a->options, estimate, sizeof estimate, NULL);
    if (status == DA_OK) {
        fprintf(stderr, "memory: %s\n", estimate);
        status = da_trainer_create(a->model, settings, strlen(settings), NULL, &a->options, trainer);
    }
    return failed(a->model, status);
}

/* What was learned, as a plan or as a checkpoint. */
static int32_t save(const struct arguments *a, da_trainer trainer) {
    size_t length = strlen(a->out);
    if (length < 5 || strcmp(a->out + length - 5, ".json")) return failed(a->out, da_trainer_export(trainer, a->out));
    da_plan plan = NULL;
    int32_t status = da_trainer_plan(trainer, &plan);
    if (status == DA_OK) status = da_plan_save(plan, a->out);
    failed(a->out, status); /* before the call below replaces the text */
    da_plan_close(plan);
    return status;
}

int main(int count, char **words) {
    struct arguments a = {0};
    if (!parse(&a, count, words)) {
        fprintf(stderr, "usage: %s MODEL SETTINGS.json OUT [--state FILE] [--threads N] [--memory MIB]\n", words[0]);
        return 2;
    }
    char *settings = read_settings(&a);
    if (!settings) return 1;
    da_trainer trainer = NULL;
    int32_t status = create(&a, settings, &trainer);
    if (status == DA_OK) {
        running = trainer;
        signal(SIGINT, on_interrupt);
        status = da_trainer_run(trainer, 0, show_progress, NULL);
        signal(SIGINT, SIG_DFL);
        fprintf(stderr, "\n");
        if (status == DA_CANCELLED) fprintf(stderr, "learn: stopped; what was learned so far is written\n");
        failed("learning", status);
    }
    if (status >= 0) status = save(&a, trainer);
    da_trainer_close(trainer);
    free(settings);
    return status == DA_OK ? 0 : 1;
}
