/* Handles that are null, closed, foreign, of another kind or made up: refused, and nothing else happens. */
#include "misuse.h"

static uint64_t random_state = 88172645463325252u;

static uint64_t random64(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

enum kind { MODEL, PLAN, SESSION, RESULT, TRAINER, KINDS };

static int32_t close_as(enum kind kind, void *handle) {
    switch (kind) {
        case MODEL: return da_model_close(handle);
        case PLAN: return da_plan_close(handle);
        case SESSION: return da_session_close(handle);
        case TRAINER: return da_trainer_close(handle);
        default: return da_result_close(handle);
    }
}

/* Calls each function that takes a handle of `kind`, but for closing, with `handle`; all must refuse it. */
static void refuse(enum kind kind, void *handle) {
    char text[16] = "untouched";
    size_t needed = 77;
    void *made = &needed;
    da_tensor view = {.struct_size = sizeof view};
    switch (kind) {
        case MODEL: {
            int32_t unused[4] = {0};
            da_tensor input = {.struct_size = sizeof input, .name = "x", .data = unused, .bytes = 4, .rank = 1, .shape = {1}};
            da_tensor output = {.struct_size = sizeof output, .name = "out"};
            STATUS(DA_INVALID_HANDLE, da_model_describe(handle, text, sizeof text, &needed));
            STATUS(DA_INVALID_HANDLE, da_model_forward(handle, &input, 1, &output, 1, NULL));
            STATUS(DA_INVALID_HANDLE, da_session_create(handle, NULL, NULL, (da_session *)&made));
            CHECK(!made, "a failed call leaves its out-parameter null");
            if (handle) STATUS(DA_INVALID_HANDLE, da_plan_describe(plan, handle, 6, text, sizeof text, &needed));
            break;
        }
        case PLAN:
            STATUS(DA_INVALID_HANDLE, da_plan_describe(handle, model, 6, text, sizeof text, &needed));
            STATUS(DA_INVALID_HANDLE, da_plan_save(handle, "/tmp/never-written-by-diffaccel.json"));
            STATUS(DA_INVALID_HANDLE, da_plan_stack(handle, plan, (da_plan *)&made));
            CHECK(!made, "a failed call leaves its out-parameter null");
            STATUS(DA_INVALID_HANDLE, da_plan_stack(plan, handle, (da_plan *)&made));
            if (handle) STATUS(DA_INVALID_HANDLE, da_session_create(model, handle, NULL, (da_session *)&made));
            break;
        case SESSION:
            STATUS(DA_INVALID_HANDLE, check_estimate(handle, check_request, text, sizeof text, &needed));
            STATUS(DA_INVALID_HANDLE, check_run(handle, check_request, (da_result *)&made));
            CHECK(!made, "a failed call leaves its out-parameter null");
            STATUS(DA_INVALID_HANDLE, da_session_cancel(handle));
            break;
        case TRAINER:
            STATUS(DA_INVALID_HANDLE, da_trainer_run(handle, 1, NULL, NULL));
            STATUS(DA_INVALID_HANDLE, da_trainer_describe(handle, text, sizeof text, &needed));
            STATUS(DA_INVALID_HANDLE, da_trainer_evaluate(handle, 1, text, sizeof text, &needed));
            STATUS(DA_INVALID_HANDLE, da_trainer_save(handle, "/tmp/never-written-by-diffaccel.state"));
            STATUS(DA_INVALID_HANDLE, da_trainer_restore(handle, "/tmp/never-written-by-diffaccel.state"));
            STATUS(DA_INVALID_HANDLE, da_trainer_export(handle, "/tmp/never-written-by-diffaccel"));
            STATUS(DA_INVALID_HANDLE, da_trainer_plan(handle, (da_plan *)&made));
            CHECK(!made, "a failed call leaves its out-parameter null");
            STATUS(DA_INVALID_HANDLE, da_trainer_cancel(handle));
            break;
        default:
            STATUS(DA_INVALID_HANDLE, da_result_tensor(handle, "latents", &view));
            CHECK(!view.data, "a refused view is filled");
            STATUS(DA_INVALID_HANDLE, da_result_stats(handle, text, sizeof text, &needed));
    }
    STATUS(DA_INVALID_HANDLE, close_as(kind, handle));
    CHECK(!strcmp(text, "untouched"), "a refused call writes to the buffer");
    CHECK(*da_last_error(), "a refused handle leaves no error text");
}

static void test_handles(void) {
    void *handles[KINDS] = {model, plan, session, result, trainer};
    for (enum kind kind = MODEL; kind < KINDS; kind++) {
        refuse(kind, NULL);
        refuse(kind, (void *)&kind);
        for (enum kind other = MODEL; other < KINDS; other++)
            if (other != kind) refuse(kind, handles[other]);
        for (int bit = 0; bit < 64; bit++) refuse(kind, (void *)((uintptr_t)handles[kind] ^ (uintptr_t)1 << bit));
        for (int i = 0; i < 100000; i++) {
            uint64_t value = random64();
            /* Half of them look like handles: leading and trailing bits of a real one. */
            if (i % 2) value = (value & 0x03fffffffffffff0u) | ((uintptr_t)handles[kind] & 0xfc0000000000000fu);
            int is_one = 0;
            for (int other = 0; other < KINDS; other++) is_one |= (uintptr_t)handles[other] == value;
            if (is_one) continue;
            refuse(kind, (void *)(uintptr_t)value);
        }
    }
}

static void test_closed_handles(void) {
    for (int round = 0; round < 120; round++) {
        da_model m = check_model();
        da_plan p = NULL;
        STATUS(DA_OK, da_plan_parse("{}", 2, &p));
        da_session s = check_session(m, p, 1);
        da_result r = NULL;
        STATUS(DA_OK, check_run(s, REQUEST(",\"steps\":1"), &r));
        da_trainer t = NULL;
        STATUS(DA_OK, da_trainer_create(tiny_checkpoint(), misuse_settings, strlen(misuse_settings), NULL, NULL, &t));
        void *handles[KINDS] = {m, p, s, r, t};
        /* In every one of the 120 orders. */
        int order[KINDS] = {0, 1, 2, 3, 4};
        for (int i = KINDS - 1, n = round; i > 0; n /= i + 1, i--) {
            int j = n % (i + 1), swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        for (int i = 0; i < KINDS; i++) STATUS(DA_OK, close_as((enum kind)order[i], handles[order[i]]));
        for (int i = 0; i < KINDS; i++) refuse((enum kind)i, handles[i]);
    }
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_handles");
    test_closed_handles();
    test_handles();
    return misuse_end("misuse_handles");
}
