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
SIZE(da_model_options, 72);

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
AT(da_event, timestep, 16);
AT(da_event, sites_computed, 20);
AT(da_event, sites_reused, 24);
AT(da_event, sites_skipped, 28);
AT(da_event, seconds, 32);
AT(da_event, flops, 40);
AT(da_event, latents, 48);
AT(da_event, shape, 56);
AT(da_event, network, 88);
AT(da_event, reserved, 92);
AT(da_event, preview, 96);
AT(da_event, preview_shape, 104);
SIZE(da_event, 136);

AT(da_request, struct_size, 0);
AT(da_request, steps, 4);
AT(da_request, sampler, 8);
AT(da_request, spacing, 16);
AT(da_request, eta, 24);
AT(da_request, seed, 32);
AT(da_request, labels, 40);
AT(da_request, label_count, 48);
AT(da_request, guidance, 56);
AT(da_request, guidance_channels, 64);
AT(da_request, steps_offset, 68);
AT(da_request, decode, 72);
AT(da_request, tile, 76);
AT(da_request, noise, 80);
AT(da_request, noise_count, 88);
AT(da_request, step_noise, 96);
AT(da_request, step_noise_count, 104);
AT(da_request, callback, 112);
AT(da_request, user, 120);
AT(da_request, top_k, 128);
AT(da_request, top_k_count, 136);
AT(da_request, temperature, 144);
AT(da_request, temperature_count, 152);
AT(da_request, top_p, 160);
AT(da_request, draws, 168);
AT(da_request, draws_count, 176);
AT(da_request, image, 184);
AT(da_request, image_count, 192);
AT(da_request, keeps, 200);
AT(da_request, keeps_count, 208);
AT(da_request, smooth, 216);
AT(da_request, previews, 220);
SIZE(da_request, 224);

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

AT(da_text_event, struct_size, 0);
AT(da_text_event, step, 4);
AT(da_text_event, steps, 8);
AT(da_text_event, prompt, 12);
AT(da_text_event, canvas, 16);
AT(da_text_event, canvas_count, 24);
AT(da_text_event, revealed, 32);
AT(da_text_event, revealed_count, 40);
AT(da_text_event, fed, 48);
AT(da_text_event, seconds, 56);
SIZE(da_text_event, 64);

AT(da_text_request, struct_size, 0);
AT(da_text_request, length, 4);
AT(da_text_request, steps, 8);
AT(da_text_request, block_length, 12);
AT(da_text_request, tokens, 16);
AT(da_text_request, lengths, 24);
AT(da_text_request, prompt_count, 32);
AT(da_text_request, order, 40);
AT(da_text_request, temperature, 48);
AT(da_text_request, guidance, 56);
AT(da_text_request, threshold, 64);
AT(da_text_request, order_temperature, 72);
AT(da_text_request, top_p, 80);
AT(da_text_request, eps, 88);
AT(da_text_request, top_k, 96);
AT(da_text_request, flags, 100);
AT(da_text_request, seed, 104);
AT(da_text_request, seeds, 112);
AT(da_text_request, callback, 120);
AT(da_text_request, user, 128);
SIZE(da_text_request, 136);
#endif

_Static_assert(sizeof(da_model) == sizeof(void *) && sizeof(da_trainer) == sizeof(void *), "handles have the size of pointers");
_Static_assert(DA_OK == 0 && DA_CANCELLED == 1 && DA_MORE == 2, "outcomes are renumbered");
_Static_assert(DA_INVALID_ARGUMENT == -1 && DA_IO == -2 && DA_FORMAT == -3 && DA_UNSUPPORTED == -4 && DA_SHAPE == -5 &&
                   DA_NO_MEMORY == -6 && DA_OVER_BUDGET == -7 && DA_INVALID_HANDLE == -8 && DA_BUSY == -9 &&
                   DA_INCOMPATIBLE == -10 && DA_NOT_FINITE == -11 && DA_INTERNAL == -12,
               "errors are renumbered");
_Static_assert(DA_F32 == 0 && DA_U8 == 16 && DA_I64 == 17 && DA_MAX_RANK == 8, "element types are renumbered");
_Static_assert(DA_STAGE_DENOISE == 0 && DA_STAGE_DECODE == 1 && DA_STAGE_SCALE == 2, "stages are renumbered");
_Static_assert(DA_LOG_NONE == 0 && DA_LOG_ERROR == 1 && DA_LOG_WARNING == 2 && DA_LOG_INFO == 3, "log levels are renumbered");

int main(void) {
    /* What the compiler could not check: that the library agrees about the sizes. */
    da_model_options model;
    da_forward_options forward;
    da_session_options session;
    da_request request;
    da_trainer_options trainer;
    STATUS(DA_OK, da_model_options_init(&model, sizeof model));
    STATUS(DA_OK, da_forward_options_init(&forward, sizeof forward));
    STATUS(DA_OK, da_session_options_init(&session, sizeof session));
    STATUS(DA_OK, da_request_init(&request, sizeof request));
    STATUS(DA_OK, da_trainer_options_init(&trainer, sizeof trainer));
    STATUS(DA_INVALID_ARGUMENT, da_model_options_init(&model, sizeof model - 1));
    STATUS(DA_INVALID_ARGUMENT, da_forward_options_init(&forward, sizeof forward - 1));
    STATUS(DA_INVALID_ARGUMENT, da_session_options_init(&session, sizeof session - 1));
    STATUS(DA_INVALID_ARGUMENT, da_request_init(&request, sizeof request - 1));
    STATUS(DA_INVALID_ARGUMENT, da_trainer_options_init(&trainer, sizeof trainer - 1));
    CHECK(model.struct_size == sizeof model && !model.widen && !model.family && !model.memory_limit, "model options");
    CHECK(session.struct_size == sizeof session && !session.threads && !session.memory_limit, "session options");
    CHECK(forward.struct_size == sizeof forward && !forward.threads && !forward.memory_limit, "forward options");
    CHECK(trainer.struct_size == sizeof trainer && !trainer.threads && !trainer.memory_limit, "trainer options");
    CHECK(request.struct_size == sizeof request && request.steps == 0 && request.guidance != request.guidance &&
              request.decode == 1 && request.tile == 0 && request.guidance_channels == 0,
          "request");
    CHECK(request.top_p != request.top_p && !request.top_k && !request.draws && !request.smooth && !session.partner &&
              !model.weights,
          "members of the second release");
    CHECK(da_abi_version() >= 1, "interface number %d", da_abi_version());
    CHECK(strchr(da_version_string(), '.') != NULL, "version %s", da_version_string());
    return check_summary("layout");
}
