#include "hostile.h"
#include "../CABI/scratch.h"

#include <stdarg.h>
#include <unistd.h>

const char *const hostile_numbers[] = {"-1",
                                       "-0",
                                       "2147483647",
                                       "2147483648",
                                       "4294967296",
                                       "4294967297",
                                       "4611686018427387905",
                                       "9223372036854775807",
                                       "9223372036854775808",
                                       "18446744073709551615",
                                       "18446744073709551616",
                                       "1e3",
                                       "1.5",
                                       "1e400",
                                       "null",
                                       "\"1\"",
                                       "[1]",
                                       "{}",
                                       "true",
                                       NULL};

static int checks_passed, checks_failed;

void hostile_check(int holds, const char *file, int line, const char *format, ...) {
    if (holds) {
        checks_passed++;
        return;
    }
    /* Some thousand equal failures say no more than the first few. */
    if (checks_failed++ > 40) return;
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
}

int hostile_summary(const char *name) {
    printf("%s: %d passed, %d failed\n", name, checks_passed, checks_failed);
    return checks_failed || !checks_passed;
}

const char *hostile_folder(void) { return scratch_folder(); }

const char *hostile_write(const char *name, const void *data, size_t size) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", hostile_folder(), name);
    unlink(path);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) exit(2);
    return path;
}

void hostile_remove(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", hostile_folder(), name);
    if (unlink(path)) remove_tree(path);
}

uint8_t *hostile_image(const char *header, size_t length, uint64_t stated, size_t data, size_t *size) {
    *size = 8 + length + data;
    uint8_t *image = malloc(*size);
    if (!image) exit(2);
    memcpy(image, &stated, 8);
    memcpy(image + 8, header, length);
    memset(image + 8 + length, 0x40, data);
    return image;
}

/* The smallest transformer: a file, and its config. */
static const char *good_path(const char **config) {
    static const char *path;
    static char text[1024];
    if (!path) {
        size_t size;
        uint8_t *image = tiny_transformer(&size);
        path = strdup(hostile_write("good.weights", image, size));
        snprintf(text, sizeof text, "%s}", tiny_transformer_config);
        free(image);
    }
    *config = text;
    return path;
}

/* A good model opens and closes: nothing of the failure before is left. */
static void good_still_opens(const char *id) {
    da_model model = NULL;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    const char *path = good_path(&options.config);
    int32_t status = da_model_open(path, &options, &model);
    CHECK(status == DA_OK && model, "after %s the good model: %s", id, da_last_error());
    if (model) da_model_close(model);
}

static int judged;

int hostile_count(void) { return judged; }

void hostile_judge(const char *id, int32_t found, const void *out, long peak, size_t size, int32_t status, const char *part) {
    const char *text = da_last_error();
    judged++;
    CHECK(found == status, "%s gives %s (%s), expected %s", id, da_status_name(found), text, da_status_name(status));
    CHECK((found == DA_OK) == (out != NULL), "%s: out-parameter and status do not fit", id);
    if (found != DA_OK)
        CHECK(part[0] && strstr(text, part) && strlen(text) <= 2048, "%s: the text does not say \"%s\": %s", id, part, text);
    /* What is refused, or small and loaded: four times the input and 16 MiB. */
    CHECK(peak <= 4 * (long)size + (16 << 20), "%s: %ld bytes asked for, %zu given", id, peak, size);
}

void hostile_open(const char *id, const char *path, const char *family, const char *config, size_t size, int32_t status,
                  const char *part) {
    da_model model = (da_model)(uintptr_t)1;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    options.family = family;
    options.config = config;
    meter_start();
    int32_t found = da_model_open(path, &options, &model);
    hostile_judge(id, found, model, meter_peak(), size, status, part);
    if (found == DA_OK) da_model_close(model);
    good_still_opens(id);
}

void hostile_plan(const char *id, const char *path, const char *text, size_t length, size_t size, int32_t status,
                  const char *part) {
    da_plan plan = (da_plan)(uintptr_t)1;
    meter_start();
    int32_t found = path ? da_plan_load(path, &plan) : da_plan_parse(text, length, &plan);
    hostile_judge(id, found, plan, meter_peak(), size, status, part);
    if (found == DA_OK) da_plan_close(plan);
    plan = NULL;
    CHECK(da_plan_parse("{}", 2, &plan) == DA_OK, "after %s a good plan: %s", id, da_last_error());
    da_plan_close(plan);
}

da_trainer hostile_new_trainer(const char *settings, int32_t *status) {
    da_trainer trainer = (da_trainer)(uintptr_t)1;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    da_trainer_options own;
    da_trainer_options_init(&own, sizeof own);
    own.threads = 1;
    const char *path = good_path(&options.config);
    *status = da_trainer_create(path, settings, strlen(settings), &options, &own, &trainer);
    return trainer;
}

void hostile_trainer(const char *id, const char *settings, size_t size, int32_t status, const char *part) {
    int32_t found;
    hostile_new_trainer("{}", &found); /* the weights are written before anything is measured */
    meter_start();
    da_trainer trainer = hostile_new_trainer(settings, &found);
    hostile_judge(id, found, trainer, meter_peak(), size, status, part);
    if (found == DA_OK) {
        CHECK(da_trainer_run(trainer, 1, NULL, NULL) == DA_OK, "%s: a step: %s", id, da_last_error());
        da_trainer_close(trainer);
    }
    good_still_opens(id);
}

/* What the trainer's next steps depend on. */
static uint8_t *bytes_of(da_trainer trainer, size_t *size) {
    const char *path = hostile_write("bytes-of", "", 0);
    *size = 0;
    CHECK(da_trainer_save(trainer, path) == DA_OK, "saving: %s", da_last_error());
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(1 << 20);
    if (file && bytes) *size = fread(bytes, 1, 1 << 20, file);
    if (file) fclose(file);
    return bytes;
}

void hostile_restore(const char *id, da_trainer trainer, const char *path, size_t size, int32_t status, const char *part) {
    size_t before_size, after_size;
    uint8_t *before = bytes_of(trainer, &before_size);
    meter_start();
    int32_t found = da_trainer_restore(trainer, path);
    hostile_judge(id, found, found == DA_OK ? trainer : NULL, meter_peak(), size, status, part);
    uint8_t *after = bytes_of(trainer, &after_size);
    if (found != DA_OK)
        CHECK(before_size > 0 && before_size == after_size && !memcmp(before, after, after_size), "%s changes the trainer", id);
    int32_t stepped = da_trainer_run(trainer, 1, NULL, NULL);
    CHECK(stepped == DA_OK, "after %s a step gives %s: %s", id, da_status_name(stepped), da_last_error());
    free(before), free(after);
}
