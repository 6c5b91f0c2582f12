/* The settings of a model that only some families have, as nobody should pass them. */
#include "misuse.h"
/* Behind the above, whose helpers it shares. */
#include "tiny_diffusion.h"

/* Of a wrong type, unknown, for another model. */
static void test_settings(const char *folder) {
    static const struct {
        const char *json;
        int32_t status;
        const char *part;
    } cases[] = {
        {"{}", DA_OK, NULL},
        {"{'comment':'nothing'}", DA_OK, NULL},
        {"{'text_encoders':'resident'}", DA_OK, NULL},
        {"{'text_encoders':'on_demand'}", DA_OK, NULL},
        {"{'text_encoders':'never'}", DA_INVALID_ARGUMENT, "text_encoders"},
        {"{'text_encoders':1}", DA_INVALID_ARGUMENT, "text_encoders"},
        {"{'convolution':'direct'}", DA_OK, NULL},
        {"{'heads':'config'}", DA_OK, NULL},
        {"{'heads':'channels/32'}", DA_UNSUPPORTED, "heads"},
        {"{'heads':'channels/0'}", DA_INVALID_ARGUMENT, "heads"},
        {"{'heads':'channels/99999999999999999999'}", DA_INVALID_ARGUMENT, "heads"},
        {"{'heads':8}", DA_INVALID_ARGUMENT, "heads"},
        {"{'convolution':'fast'}", DA_INVALID_ARGUMENT, "convolution"},
        {"{'precision':'f32'}", DA_OK, NULL},
        {"{'precision':'auto'}", DA_OK, NULL},
        {"{'precision':'int8'}", DA_UNSUPPORTED, "bf16"},
        {"{'precision':'half'}", DA_INVALID_ARGUMENT, "precision"},
        {"{'precision':16}", DA_INVALID_ARGUMENT, "precision"},
        {"{'ranks':'alternate'}", DA_INVALID_ARGUMENT, "executor"},
        {"{'ranks':'async:9'}", DA_INVALID_ARGUMENT, "components"},
        {"{'ranks':7}", DA_INVALID_ARGUMENT, "ranks"},
        {"{'ranks':{'method':'async','executor':'threads'}}", DA_INVALID_ARGUMENT, "mpi"},
        {"{'prediction_type':'noise'}", DA_INVALID_ARGUMENT, "prediction_type"},
        {"{'lora':'@nowhere.safetensors'}", DA_IO, "nowhere"},
        {"{'lora':[]}", DA_INVALID_ARGUMENT, "lora"},
        {"{'lora':7}", DA_INVALID_ARGUMENT, "lora"},
        {"{'lora':{'scale':1}}", DA_INVALID_ARGUMENT, "lora"},
        {"{'lora':{'path':'x','scale':'y'}}", DA_INVALID_ARGUMENT, "lora"},
        {"{'variant':'fp99'}", DA_IO, "fp99"},
        {"{'tokenizer':'/nowhere'}", DA_IO, "nowhere"},
        {"{'loras':'x'}", DA_INVALID_ARGUMENT, "did you mean \"lora\""},
        {"{'text_encoder':'x'}", DA_INVALID_ARGUMENT, "text_encoders"},
        {"[]", DA_FORMAT, "settings"},
        {"{", DA_FORMAT, "settings"},
        {"", DA_FORMAT, "settings"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        da_model_options options;
        STATUS(DA_OK, da_model_options_init(&options, sizeof options));
        options.settings = quoted("%s", cases[i].json);
        da_model opened = (void *)&opened;
        int32_t status = da_model_open(folder, &options, &opened);
        expect_answer(cases[i].json, (long double)i, status, opened);
        CHECK(status == cases[i].status && (!cases[i].part || strstr(da_last_error(), cases[i].part)), "%s gives %s: %s",
              cases[i].json, da_status_name(status), da_last_error());
        if (opened) da_model_close(opened);
    }
    static const char *const foreign[] = {"{'lora':'x'}", "{'text_encoders':'on_demand'}", "{'tokenizer':'x'}",
                                          "{'prediction_type':'epsilon'}", "{'heads':'channels/32'}"};
    for (size_t i = 0; i < COUNT(foreign); i++) {
        da_model_options options;
        STATUS(DA_OK, da_model_options_init(&options, sizeof options));
        options.settings = quoted("%s", foreign[i]);
        da_model opened = (void *)&opened;
        STATUS(DA_UNSUPPORTED, da_model_open(tiny_checkpoint(), &options, &opened));
        CHECK(!opened && strstr(da_last_error(), "pipelines of prompts"), "%s: %s", foreign[i], da_last_error());
    }
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_settings");
    char folder[192];
    snprintf(folder, sizeof folder, "%s", write_diffusion());
    test_settings(folder);
    return misuse_end("misuse_settings");
}
