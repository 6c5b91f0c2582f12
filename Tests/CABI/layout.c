/* Offsets and sizes of every struct on 64-bit systems, as the compiler sees them: they never change once released. */
#include <diffaccel.h>

#include "check.h"

#define AT(type, member, offset) _Static_assert(offsetof(type, member) == (offset), #type "." #member " has moved")
#define SIZE(type, size)         _Static_assert(sizeof(type) == (size), #type " has another size")

#if defined(__LP64__)
AT(da_tensor, struct_size, 0);
AT(da_tensor, dtype, 4);
AT(da_tensor, name, 8);
AT(da_tensor, data, 16);
AT(da_tensor, bytes, 24);
AT(da_tensor, rank, 32);
AT(da_tensor, reserved, 36);
AT(da_tensor, shape, 40);
SIZE(da_tensor, 104);

AT(da_model_options, struct_size, 0);
AT(da_model_options, widen, 4);
AT(da_model_options, family, 8);
AT(da_model_options, config, 16);
AT(da_model_options, conventions, 24);
AT(da_model_options, decoder, 32);
AT(da_model_options, memory_limit, 40);
AT(da_model_options, follow_links, 48);
AT(da_model_options, reserved, 52);
AT(da_model_options, weights, 56);
AT(da_model_options, mask_token, 64);
AT(da_model_options, settings, 72);
SIZE(da_model_options, 80);

AT(da_forward_options, struct_size, 0);
AT(da_forward_options, threads, 4);
AT(da_forward_options, memory_limit, 8);
SIZE(da_forward_options, 16);

AT(da_session_options, struct_size, 0);
AT(da_session_options, threads, 4);
AT(da_session_options, memory_limit, 8);
AT(da_session_options, partner, 16);
SIZE(da_session_options, 24);

AT(da_event, struct_size, 0);
AT(da_event, stage, 4);
AT(da_event, step, 8);
AT(da_event, steps, 12);
AT(da_event, fraction, 16);
AT(da_event, seconds, 24);
AT(da_event, source, 32);
SIZE(da_event, 40);

AT(da_trainer_options, struct_size, 0);
AT(da_trainer_options, threads, 4);
AT(da_trainer_options, memory_limit, 8);
SIZE(da_trainer_options, 16);

AT(da_training_event, struct_size, 0);
AT(da_training_event, reserved, 4);
AT(da_training_event, step, 8);
AT(da_training_event, steps, 16);
AT(da_training_event, loss, 24);
AT(da_training_event, gradient_norm, 32);
AT(da_training_event, learning_rate, 40);
AT(da_training_event, seconds, 48);
AT(da_training_event, confidences, 56);
AT(da_training_event, confidence_count, 64);
AT(da_training_event, json, 72);
SIZE(da_training_event, 80);
#endif

_Static_assert(sizeof(da_model) == sizeof(void *) && sizeof(da_trainer) == sizeof(void *), "handles have the size of pointers");
_Static_assert(DA_OK == 0 && DA_CANCELLED == 1 && DA_MORE == 2, "outcomes are renumbered");
_Static_assert(DA_INVALID_ARGUMENT == -1 && DA_IO == -2 && DA_FORMAT == -3 && DA_UNSUPPORTED == -4 && DA_SHAPE == -5 &&
                   DA_NO_MEMORY == -6 && DA_OVER_BUDGET == -7 && DA_INVALID_HANDLE == -8 && DA_BUSY == -9 &&
                   DA_INCOMPATIBLE == -10 && DA_NOT_FINITE == -11 && DA_INTERNAL == -12,
               "errors are renumbered");
_Static_assert(DA_F32 == 0 && DA_U8 == 16 && DA_I64 == 17 && DA_MAX_RANK == 8, "element types are renumbered");
_Static_assert(DA_STAGE_DENOISE == 0 && DA_STAGE_DECODE == 1 && DA_STAGE_SCALE == 2 && DA_STAGE_UNMASK == 3 &&
                   DA_STAGE_ENCODE == 4,
               "stages are renumbered");
_Static_assert(DA_LOG_NONE == 0 && DA_LOG_ERROR == 1 && DA_LOG_WARNING == 2 && DA_LOG_INFO == 3, "log levels are renumbered");

int main(void) {
    /* What the compiler could not check: that the library agrees about the sizes. */
    da_model_options model;
    da_forward_options forward;
    da_session_options session;
    da_trainer_options trainer;
    STATUS(DA_OK, da_model_options_init(&model, sizeof model));
    STATUS(DA_OK, da_forward_options_init(&forward, sizeof forward));
    STATUS(DA_OK, da_session_options_init(&session, sizeof session));
    STATUS(DA_OK, da_trainer_options_init(&trainer, sizeof trainer));
    STATUS(DA_INVALID_ARGUMENT, da_model_options_init(&model, sizeof model - 1));
    STATUS(DA_INVALID_ARGUMENT, da_forward_options_init(&forward, sizeof forward - 1));
    STATUS(DA_INVALID_ARGUMENT, da_session_options_init(&session, sizeof session - 1));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_options_init(&trainer, sizeof trainer - 1));
    CHECK(model.struct_size == sizeof model && !model.widen && !model.family && !model.memory_limit, "model options");
    CHECK(session.struct_size == sizeof session && !session.threads && !session.memory_limit, "session options");
    CHECK(forward.struct_size == sizeof forward && !forward.threads && !forward.memory_limit, "forward options");
    CHECK(trainer.struct_size == sizeof trainer && !trainer.threads && !trainer.memory_limit, "trainer options");
    CHECK(!session.partner && !model.weights && model.mask_token == -1 && !model.settings, "members of later releases");
    CHECK(da_abi_version() >= 1, "interface number %d", da_abi_version());
    CHECK(strchr(da_version_string(), '.') != NULL, "version %s", da_version_string());
    return check_summary("layout");
}
