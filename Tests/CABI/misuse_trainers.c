/* Arguments that nobody should give a trainer, and data that go bad while they are learned from: each time a status and a text,
 * and the trainers that are there stay as they were. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>

#include "refusals.h"

#define FINETUNE "{\"method\":\"finetune\""

static da_trainer bystander;
static struct bytes bystander_state;

static void test_arguments(void) {
    const char *settings = settings_of(&recipes[0], STEPS, "");
    size_t length = strlen(settings), needed = 77;
    da_trainer made = (void *)&made;
    char text[8192];
    STATUS(DA_INVALID_ARGUMENT, da_trainer_options_init(NULL, sizeof(da_trainer_options)));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_create(NULL, settings, length, NULL, NULL, &made));
    CHECK(!made, "the trainer is not null");
    const size_t lengths[] = {0, (size_t)-1, (size_t)1 << 63, ((size_t)4 << 20) + 1, (size_t)1 << 40};
    for (int i = 0; i < 5; i++) {
        made = (void *)&made;
        STATUS(DA_INVALID_ARGUMENT, da_trainer_create(tiny_checkpoint(), settings, lengths[i], NULL, NULL, &made));
        CHECK(!made && strstr(da_last_error(), "settings"), "%zu bytes: %s", lengths[i], da_last_error());
    }
    STATUS(DA_INVALID_ARGUMENT, da_trainer_create(tiny_checkpoint(), NULL, length, NULL, NULL, &made));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_create(tiny_checkpoint(), settings, length, NULL, NULL, NULL));
    STATUS(DA_IO, da_trainer_create("/no/such/folder", settings, length, NULL, NULL, &made));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_create("", settings, length, NULL, NULL, &made));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_estimate(NULL, settings, length, NULL, NULL, text, sizeof text, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_estimate(tiny_checkpoint(), settings, length, NULL, NULL, NULL, 10, &needed));
    STATUS(DA_MORE, da_trainer_estimate(tiny_checkpoint(), settings, length, NULL, NULL, NULL, 0, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_run(bystander, -1, NULL, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_run(bystander, INT64_MIN, NULL, NULL));
    const int32_t batches[] = {0, -1, 100001, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 5; i++)
        STATUS(DA_INVALID_ARGUMENT, da_trainer_evaluate(bystander, batches[i], text, sizeof text, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_describe(bystander, NULL, 10, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_plan(bystander, NULL));
    static char path[5000];
    memset(path, 'a', sizeof path - 1);
    const char *paths[] = {NULL, "", "/", ".", "..", "\xff", "/dev/null", "/no/such/folder/x", path};
    for (int i = 0; i < 9; i++) {
        int32_t status = da_trainer_save(bystander, paths[i]);
        CHECK(status == DA_INVALID_ARGUMENT || status == DA_IO, "saving to %.20s gives %s", paths[i] ? paths[i] : "null",
              da_status_name(status));
        status = da_trainer_restore(bystander, paths[i]);
        CHECK(status == DA_INVALID_ARGUMENT || status == DA_IO, "restoring from %.20s gives %s", paths[i] ? paths[i] : "null",
              da_status_name(status));
        if (i == 3 || i == 4 || i == 2) continue; /* folders that are there */
        status = da_trainer_export(bystander, paths[i]);
        CHECK(status == DA_INVALID_ARGUMENT || status == DA_IO, "exporting to %.20s gives %s", paths[i] ? paths[i] : "null",
              da_status_name(status));
    }
    same_state(bystander, bystander_state, "after bad arguments");
}

/* ---- data that go bad while they are learned from ---- */

static void test_data_at_work(void) {
    learning_data();
    float *states = malloc(sizeof learning_states);
    memcpy(states, learning_states, sizeof learning_states);
    const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (int i = 0; i < 4; i++) {
        states[4 * TINY_STATE + 77] = odd[i];
        write_samples("odd.safetensors", states, learning_labels, SAMPLES);
        da_trainer trainer = NULL;
        STATUS(DA_OK, try_trainer(filled_for("", FINETUNE
                                             ",\"steps\":9,\"batch\":5,\"data\":{\"path\":\"@odd.safetensors\",\"factor\":2}}"),
                                  1, 0, &trainer));
        struct bytes before = state_of(trainer);
        int32_t status = DA_OK;
        int made = 0;
        for (; made < 3 && status == DA_OK; made += status == DA_OK) {
            free(before.data);
            before = state_of(trainer);
            status = da_trainer_run(trainer, 1, NULL, NULL);
        }
        CHECK(status == DA_NOT_FINITE && strstr(da_last_error(), "sample 4"), "%g in the data gives %s: %s", odd[i],
              da_status_name(status), da_last_error());
        same_state(trainer, before, "after a bad sample");
        STATUS(DA_OK, da_trainer_close(trainer));
        free(before.data);
    }
    free(states);
    /* The file is cut, and then whole again. */
    struct bytes whole = read_file(learning_data());
    da_trainer plain = new_trainer(&recipes[12], STEPS, ""), trainer = new_trainer(&recipes[12], STEPS, "");
    STATUS(DA_OK, da_trainer_run(plain, 0, NULL, NULL));
    STATUS(DA_OK, da_trainer_run(trainer, 2, NULL, NULL));
    struct bytes two = state_of(trainer), end = state_of(plain);
    for (int i = 0; i < 3; i++) {
        CHECK(!truncate(learning_data(), i == 0 ? 0 : (off_t)whole.size / i - 1), "not cut");
        STATUS(DA_IO, da_trainer_run(trainer, 0, NULL, NULL));
        CHECK(strstr(da_last_error(), "data.safetensors"), "the text is \"%s\"", da_last_error());
        same_state(trainer, two, "after a cut file");
    }
    int file = open(learning_data(), O_WRONLY);
    CHECK(file >= 0 && pwrite(file, whole.data, whole.size, 0) == (ssize_t)whole.size && !close(file), "not whole again");
    STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
    same_state(trainer, end, "after the file is whole again");
    STATUS(DA_OK, da_trainer_close(trainer));
    STATUS(DA_OK, da_trainer_close(plain));
    free(whole.data), free(two.data), free(end.data);
}

int main(void) {
    bystander = new_trainer(&recipes[12], STEPS, "");
    STATUS(DA_OK, da_trainer_run(bystander, 1, NULL, NULL));
    bystander_state = state_of(bystander);
    test_arguments();
    test_data_at_work();
    same_state(bystander, bystander_state, "after bad data");
    STATUS(DA_OK, da_trainer_close(bystander));
    return check_summary("misuse_trainers");
}
