/* Samples a number of steps of a model through the C interface and does nothing else: a target for profilers.
 *
 *   steps MODEL SAMPLES STEPS THREADS */
#include <diffaccel.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_SAMPLES 4096

static int failed(const char *what, int32_t status) {
    if (status != DA_OK) fprintf(stderr, "steps: %s: %s: %s\n", what, da_status_name(status), da_last_error());
    return status != DA_OK;
}

int main(int count, char **words) {
    static int64_t labels[MAX_SAMPLES];
    if (count != 5) return 2;
    int samples = atoi(words[2]);
    if (samples < 1 || samples > MAX_SAMPLES) return 2;
    da_model model = NULL;
    da_session session = NULL;
    da_result result = NULL;
    da_session_options options;
    if (failed("options", da_session_options_init(&options, sizeof options))) return 1;
    options.threads = atoi(words[4]);
    char request[80];
    int length = snprintf(request, sizeof request, "{\"steps\":%d,\"guidance\":1,\"decode\":false}", atoi(words[3]));
    const da_tensor given = {sizeof given, DA_I64, "labels", labels, (size_t)samples * 8, 1, 0, {samples}};
    if (failed("open", da_model_open(words[1], NULL, &model)) ||
        failed("session", da_session_create(model, NULL, &options, &session)) ||
        failed("sample", da_session_run(session, request, (size_t)length, &given, 1, NULL, NULL, &result)))
        return 1;
    da_result_close(result);
    da_session_close(session);
    da_model_close(model);
    return 0;
}
