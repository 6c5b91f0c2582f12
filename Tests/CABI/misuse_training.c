/* Settings and data that nobody should give a trainer: each refused with a status and a text that names the place, and the
 * trainers that are there stay as they were. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <sys/resource.h>

#include "refusals.h"

#define ROUTER   "{\"method\":\"router\",\"sampling_steps\":4"
#define GATES    "{\"method\":\"prune\",\"update\":\"gates\""
#define RULE     "{\"method\":\"prune\",\"rule\":"
#define FINETUNE "{\"method\":\"finetune\""
#define SMALL    ",\"steps\":2,\"batch\":2"
#define DATA     ",\"data\":{\"path\":\"@data.safetensors\"}" SMALL "}"
#define TEACHER  FINETUNE ",\"teacher\":\"@teacher\",\"distillation\":"

static const char *filled(const char *text) { return filled_for(tiny_checkpoint(), text); }

static const struct bad cases[] = {
    {"[]", DA_FORMAT, "expected an object"},
    {"{}", DA_FORMAT, "method"},
    {"{", DA_FORMAT, "line 1"},
    {"{\"method\":1}", DA_FORMAT, "method"},
    {"{\"method\":\"distil\"}", DA_FORMAT, "method"},
    {"{\"method\":\"router\",\"method\":\"router\"}", DA_FORMAT, "duplicate"},
    {ROUTER ",\"rank\":8" DATA, DA_FORMAT, "no option \"rank\""},
    {GATES ",\"pattern\":\"1:3\",\"keep\":[1]" DATA, DA_FORMAT, "no option \"keep\""},
    {RULE "\"pairs\",\"pattern\":\"1:3\"" DATA, DA_FORMAT, "no option \"pattern\""},
    {FINETUNE ",\"threshold\":0.5" DATA, DA_FORMAT, "no option \"threshold\""},
    {FINETUNE ",\"teacher\":7" DATA, DA_FORMAT, "teacher"},
    {FINETUNE ",\"dtype\":\"f8\"" DATA, DA_FORMAT, "dtype"},
    {FINETUNE ",\"averaged\":2" DATA, DA_FORMAT, "averaged"},
    {FINETUNE ",\"resume\":\"yes\"" DATA, DA_FORMAT, "resume"},
    {FINETUNE ",\"start\":\"nowhere\"" DATA, DA_FORMAT, "start"},
    {FINETUNE ",\"masking\":\"all\"" DATA, DA_FORMAT, "masking"},
    {ROUTER ",\"trajectory\":\"\"" DATA, DA_FORMAT, "trajectory"},
    {ROUTER ",\"period\":5" DATA, DA_INVALID_ARGUMENT, "period"},
    {ROUTER SMALL "}", DA_INVALID_ARGUMENT, "data"},
    {ROUTER ",\"trajectory\":\"own\",\"guidance_channels\":5,\"guidance\":2" SMALL "}", DA_INVALID_ARGUMENT, "channels"},
    {GATES ",\"pattern\":\"1:3\"" SMALL "}", DA_FORMAT, "data"},
    {FINETUNE SMALL "}", DA_FORMAT, "data"},
    {RULE "\"change\"" SMALL "}", DA_INVALID_ARGUMENT, "data"},
    /* blocks */
    {GATES DATA, DA_FORMAT, "groups"},
    {GATES ",\"groups\":[]" DATA, DA_INVALID_ARGUMENT, "hold 0 blocks, the network has 3"},
    {GATES ",\"groups\":[[1,2]]" DATA, DA_INVALID_ARGUMENT, "hold 2 blocks"},
    {GATES ",\"groups\":[[1,2],[1,2]]" DATA, DA_INVALID_ARGUMENT, "hold 4 blocks"},
    {GATES ",\"groups\":[[3,2],[1,1]]" DATA, DA_INVALID_ARGUMENT, "3 of 2"},
    {GATES ",\"groups\":[[0,3]]" DATA, DA_INVALID_ARGUMENT, "0 of 3"},
    {GATES ",\"groups\":[[-1,3]]" DATA, DA_INVALID_ARGUMENT, "-1 of 3"},
    {GATES ",\"groups\":[[1,-3],[1,6]]" DATA, DA_INVALID_ARGUMENT, "1 of -3"},
    {GATES ",\"groups\":[[1]]" DATA, DA_FORMAT, "groups"},
    {GATES ",\"groups\":[[\"1\",3]]" DATA, DA_FORMAT, "groups"},
    {GATES ",\"groups\":[[1.5,3]]" DATA, DA_FORMAT, "groups"},
    {GATES ",\"groups\":[[1e300,3]]" DATA, DA_FORMAT, "groups"},
    {GATES ",\"groups\":[[9223372036854775807,9223372036854775807],[1,3]]" DATA, DA_FORMAT, "groups"},
    {GATES ",\"groups\":\"1:3\"" DATA, DA_FORMAT, "groups"},
    {GATES ",\"pattern\":\"1:2\"" DATA, DA_FORMAT, "pattern: \"1:2\""},
    {GATES ",\"pattern\":\"0:3\"" DATA, DA_FORMAT, "pattern"},
    {GATES ",\"pattern\":\"4:3\"" DATA, DA_FORMAT, "pattern"},
    {GATES ",\"pattern\":\"\"" DATA, DA_FORMAT, "pattern"},
    {GATES ",\"pattern\":\":\"" DATA, DA_FORMAT, "pattern"},
    {GATES ",\"pattern\":\"1:3:1\"" DATA, DA_FORMAT, "pattern"},
    {GATES ",\"pattern\":\"-1:-3\"" DATA, DA_FORMAT, "pattern"},
    {GATES ",\"pattern\":\"99999999999999999999:3\"" DATA, DA_FORMAT, "pattern"},
    {RULE "\"best\"" DATA, DA_FORMAT, "rule"},
    {RULE "1" DATA, DA_FORMAT, "rule"},
    {RULE "\"index\"" DATA, DA_FORMAT, "keep"},
    {RULE "\"index\",\"keep\":[]" DATA, DA_INVALID_ARGUMENT, "0 blocks"},
    {RULE "\"index\",\"keep\":[3]" DATA, DA_FORMAT, "keep"},
    {RULE "\"index\",\"keep\":[-1]" DATA, DA_FORMAT, "keep"},
    {RULE "\"random\",\"keep_count\":4" DATA, DA_FORMAT, "keep_count"},
    {RULE "\"random\",\"keep_count\":0" DATA, DA_FORMAT, "keep_count"},
    /* teachers */
    {FINETUNE ",\"distillation\":\"logits\"" DATA, DA_FORMAT, "teacher"},
    {FINETUNE ",\"distillation\":\"logits\",\"teacher\":\"@none\"" DATA, DA_IO, "none"},
    {FINETUNE ",\"distillation\":\"logits\",\"teacher\":\"@wide\"" DATA, DA_INCOMPATIBLE, "teacher's states"},
    {FINETUNE ",\"distillation\":\"masked\",\"teacher\":\"@width\",\"layer_map\":[[0,0]]" DATA, DA_INCOMPATIBLE, "width 64"},
    {TEACHER "\"masked\"" DATA, DA_FORMAT, "groups"},
    {TEACHER "\"masked\",\"layer_map\":[[0,3]]" DATA, DA_INCOMPATIBLE, "no block 3"},
    {TEACHER "\"masked\",\"layer_map\":[[3,0]]" DATA, DA_INCOMPATIBLE, "no block 3"},
    {TEACHER "\"masked\",\"layer_map\":[[-1,0]]" DATA, DA_FORMAT, "layer_map"},
    {TEACHER "\"masked\",\"layer_map\":[[0,1e18]]" DATA, DA_FORMAT, "layer_map"},
    {TEACHER "\"masked\",\"groups\":[[4096,4096],[4096,4096]]" DATA, DA_INCOMPATIBLE, "no block"},
    {TEACHER "\"masked\",\"layer_map\":7" DATA, DA_FORMAT, "layer_map"},
    /* data: what its settings say */
    {FINETUNE ",\"data\":7}", DA_FORMAT, "data"},
    {FINETUNE ",\"data\":\"@data.safetensors\"}", DA_FORMAT, "data"},
    {FINETUNE ",\"data\":{}}", DA_FORMAT, "latents"},
    {FINETUNE ",\"data\":{\"latents\":\"@f.npy\"}}", DA_FORMAT, "labels"},
    {FINETUNE ",\"data\":{\"path\":7}}", DA_FORMAT, "path"},
    {FINETUNE ",\"data\":{\"path\":\"\"}}", DA_INVALID_ARGUMENT, "path"},
    {FINETUNE ",\"data\":{\"path\":\"@data.safetensors\",\"shuffle\":true}}", DA_FORMAT, "no option \"shuffle\""},
    {FINETUNE ",\"data\":{\"path\":\"@data.safetensors\",\"labels\":\"@l.npy\"}}", DA_FORMAT, "labels"},
    {FINETUNE ",\"data\":{\"path\":\"@data.safetensors\",\"factor\":0}}", DA_INVALID_ARGUMENT, "multiplied by 0"},
    {FINETUNE ",\"data\":{\"path\":\"@data.safetensors\",\"factor\":1e7}}", DA_FORMAT, "factor"},
    {FINETUNE ",\"data\":{\"path\":\"@absent.safetensors\"}}", DA_IO, "absent.safetensors"},
    {FINETUNE ",\"data\":{\"path\":\"@pipe\"}}", DA_IO, "pipe"},
    {FINETUNE ",\"data\":{\"path\":\"@folder\"}}", DA_IO, "folder"},
    {FINETUNE ",\"data\":{\"path\":\"/dev/zero\"}}", DA_IO, "/dev/zero"},
    /* and what stands in its files */
    {FINETUNE ",\"data\":{\"path\":\"@other.safetensors\"}}", DA_FORMAT, "no tensor \"latents\""},
    {FINETUNE ",\"data\":{\"path\":\"@empty\"}}", DA_FORMAT, "empty"},
    {FINETUNE ",\"data\":{\"latents\":\"@rank3.npy\",\"labels\":\"@l.npy\"}}", DA_SHAPE, "rank3.npy"},
    {FINETUNE ",\"data\":{\"latents\":\"@channels.npy\",\"labels\":\"@l.npy\"}}", DA_SHAPE, "the model's states [4, 8, 8]"},
    {FINETUNE ",\"data\":{\"latents\":\"@side.npy\",\"labels\":\"@l.npy\"}}", DA_SHAPE, "the model's states [4, 8, 8]"},
    {FINETUNE ",\"data\":{\"latents\":\"@three.npy\",\"labels\":\"@l.npy\"}}", DA_SHAPE, "three.npy"},
    {FINETUNE ",\"data\":{\"latents\":\"@none.npy\",\"labels\":\"@l.npy\"}}", DA_SHAPE, "none.npy"},
    {FINETUNE ",\"data\":{\"latents\":\"@hollow.npy\",\"labels\":\"@l.npy\"}}", DA_SHAPE, "hollow.npy"},
    {FINETUNE ",\"data\":{\"latents\":\"@integers.npy\",\"labels\":\"@l.npy\"}}", DA_UNSUPPORTED, "integers.npy: I64"},
    {FINETUNE ",\"data\":{\"latents\":\"@f.npy\",\"labels\":\"@f.npy\"}}", DA_SHAPE, "labels for 10 samples"},
    {FINETUNE ",\"data\":{\"latents\":\"@f.npy\",\"labels\":\"@l9.npy\"}}", DA_SHAPE, "l9.npy: 9 labels for 10 samples"},
    {FINETUNE ",\"data\":{\"latents\":\"@f.npy\",\"labels\":\"@floats.npy\"}}", DA_UNSUPPORTED, "floats.npy"},
    {FINETUNE ",\"data\":{\"latents\":\"@f.npy\",\"labels\":\"@above.npy\"}}", DA_INVALID_ARGUMENT, "label 11 at position 9"},
    {FINETUNE ",\"data\":{\"latents\":\"@f.npy\",\"labels\":\"@below.npy\"}}", DA_INVALID_ARGUMENT, "label -1 at position 0"},
    {FINETUNE ",\"data\":{\"latents\":\"@f.npy\",\"labels\":\"@huge.npy\"}}", DA_SHAPE, "huge.npy"},
    /* states */
    {FINETUNE ",\"state\":7" DATA, DA_FORMAT, "state"},
    {FINETUNE ",\"save_every\":0" DATA, DA_FORMAT, "save_every"},
    {FINETUNE ",\"state\":\"@data.safetensors\"" DATA, DA_INVALID_ARGUMENT, "data.safetensors: a state is there already"},
    {FINETUNE ",\"state\":\"@data.safetensors\",\"resume\":true" DATA, DA_FORMAT, "no saved state"},
    {FINETUNE ",\"state\":\"@folder\",\"resume\":true" DATA, DA_IO, "folder"},
    {FINETUNE ",\"state\":\"/dev/null\"" DATA, DA_INVALID_ARGUMENT, "/dev/null"},
    {FINETUNE ",\"state\":\"@empty\",\"resume\":true" DATA, DA_FORMAT, "empty"},
};

static da_trainer bystander;
static struct bytes bystander_state;

/* Files with one fault each. */
static void write_files(void) {
    static float states[SAMPLES * 2 * TINY_STATE];
    int64_t labels[SAMPLES] = {0};
    learning_data();
    write_npy("f.npy", "<f4", "(10, 4, 8, 8)", states, SAMPLES * TINY_STATE * 4);
    write_npy("rank3.npy", "<f4", "(10, 8, 32)", states, SAMPLES * TINY_STATE * 4);
    write_npy("channels.npy", "<f4", "(10, 8, 8, 4)", states, SAMPLES * TINY_STATE * 4);
    write_npy("side.npy", "<f4", "(10, 4, 16, 4)", states, SAMPLES * TINY_STATE * 4);
    write_npy("three.npy", "<f4", "(10, 1, 4, 8, 8)", states, SAMPLES * TINY_STATE * 4);
    write_npy("none.npy", "<f4", "(0, 4, 8, 8)", states, 0);
    write_npy("hollow.npy", "<f4", "(10, 4, 0, 8)", states, 0);
    write_npy("integers.npy", "<i8", "(10, 4, 8, 8)", states, SAMPLES * TINY_STATE * 8);
    write_npy("l.npy", "<i8", "(10,)", labels, sizeof labels);
    write_npy("l9.npy", "<i8", "(9,)", labels, sizeof labels - 8);
    write_npy("floats.npy", "<f8", "(10,)", labels, sizeof labels);
    write_npy("huge.npy", "<i8", "(1152921504606846976,)", labels, sizeof labels);
    labels[9] = 11;
    write_npy("above.npy", "<i8", "(10,)", labels, sizeof labels);
    labels[9] = 0, labels[0] = -1;
    write_npy("below.npy", "<i8", "(10,)", labels, sizeof labels);
    write_data("empty", "", 0, "", 0);
    write_data("other.safetensors", "\x02\0\0\0\0\0\0\0{}", 10, "", 0);
    CHECK(!mkfifo(in_place("pipe"), 0600) && !mkdir(in_place("folder"), 0700), "no pipe and folder");
    CHECK(!symlink(larger_checkpoint(48, 3, 16), in_place("wide")) && !symlink(larger_checkpoint(64, 3, 8), in_place("width")),
          "no teachers");
}

static void test_settings(void) {
    refuse_all(tiny_checkpoint(), tiny_checkpoint(), cases, sizeof cases / sizeof *cases);
    same_state(bystander, bystander_state, "after bad settings");
}

/* Every number at every edge: refused by name, or it learns. */
static void test_numbers(void) {
    static const char *numbers[] = {"-1",
                                    "0",
                                    "1",
                                    "2",
                                    "1.5",
                                    "-0",
                                    "0.1",
                                    "1e-310",
                                    "5e-324",
                                    "1000",
                                    "1001",
                                    "4096",
                                    "4097",
                                    "65536",
                                    "65537",
                                    "2147483648",
                                    "4294967297",
                                    "1e9",
                                    "1e18",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "1e19",
                                    "1e308",
                                    "-1e308",
                                    "1e400",
                                    "null",
                                    "\"1\"",
                                    "[1]",
                                    "[]",
                                    "{}",
                                    "true",
                                    "[1,2]",
                                    "[1,2,3]",
                                    "[null,1]",
                                    "[0,1e308]",
                                    "NaN",
                                    "\"NaN\""};
    static const struct {
        const char *settings, *names;
    } methods[] = {
        {"{\"method\":\"router\"",
         "steps batch seed label_dropout recompute save_every sampling_steps period l1 learning_rate clamp straight_through "
         "threshold guidance guidance_channels cache_limit"},
        {"{\"method\":\"router\",\"trajectory\":\"own\"", "sampling_steps period guidance guidance_channels batch seed"},
        {"{\"method\":\"prune\",\"pattern\":\"2:3\"",
         "steps batch seed label_dropout recompute rank alpha learning_rate gate_rate temperature scaling clip average_decay"},
        {"{\"method\":\"prune\",\"rule\":\"change\"", "steps batch seed keep_count"},
        {"{\"method\":\"finetune\"",
         "steps batch seed label_dropout recompute learning_rate warmup weight_decay clip average_decay distillation_weight "
         "ground_weight feature_weight sigmas"}};
    int accepted = 0, refused = 0;
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        char names[512], *rest = names;
        strcpy(names, methods[m].names);
        for (char *name; (name = strsep(&rest, " "));)
            for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
                char settings[1024];
                snprintf(
                    settings, sizeof settings, "%s,\"data\":{\"path\":\"%s\"},\"%s\":%s%s%s}", methods[m].settings,
                    learning_data(), name, numbers[n], strcmp(name, "batch") ? ",\"batch\":1" : "",
                    strstr(methods[m].settings, "router") && strcmp(name, "sampling_steps") ? ",\"sampling_steps\":4" : "");
                da_trainer made = NULL;
                int32_t status = try_trainer(settings, 1, 64 << 20, &made);
                if (status == DA_OK) status = da_trainer_run(made, 2, NULL, NULL);
                CHECK(status == DA_OK || status == DA_OVER_BUDGET || status == DA_FORMAT || status == DA_INVALID_ARGUMENT ||
                          (status == DA_NOT_FINITE && made),
                      "%s gives %s: %s", settings, da_status_name(status), da_last_error());
                if (made) CHECK(described(made, "step") >= 0, "no description");
                else if (status != DA_OVER_BUDGET)
                    CHECK(strstr(da_last_error(), name) || strstr(da_last_error(), "bad JSON") ||
                              (!strcmp(name, "guidance_channels") && strstr(da_last_error(), "channels")),
                          "%s = %s: the text is \"%s\"", name, numbers[n], da_last_error());
                status == DA_OK ? accepted++ : refused++;
                if (made) STATUS(DA_OK, da_trainer_close(made));
            }
    }
    CHECK(accepted > 300 && refused > 1000, "%d accepted, %d refused", accepted, refused);
    same_state(bystander, bystander_state, "after bad numbers");
}

/* Many groups, or many candidates times samples, must be seen before there are any of them. */
static void test_many_groups(void) {
    char *text = malloc(1 << 20);
    size_t used = (size_t)sprintf(text, "%s,\"groups\":[[1,4096]", GATES);
    for (int i = 0; i < 20000; i++) used += (size_t)sprintf(text + used, ",[1,4096]");
    sprintf(text + used, "]%s", filled(DATA));
    da_trainer made = NULL;
    STATUS(DA_INVALID_ARGUMENT, try_trainer(text, 1, 0, &made));
    CHECK(strstr(da_last_error(), "groups"), "the text is \"%s\"", da_last_error());
    free(text);
    const char *deep = larger_checkpoint(16, 14, 8);
    const char *settings =
        filled(GATES ",\"groups\":[[7,14]],\"batch\":65536,\"steps\":1,\"data\":{\"path\":\"@data.safetensors\"}}");
    STATUS(DA_INVALID_ARGUMENT, da_trainer_create(deep, settings, strlen(settings), NULL, NULL, &made));
    settings = filled(GATES ",\"groups\":[[7,14]],\"batch\":1,\"steps\":1,\"data\":{\"path\":\"@data.safetensors\"}}");
    STATUS(DA_OK, da_trainer_create(deep, settings, strlen(settings), NULL, NULL, &made));
    STATUS(DA_OK, da_trainer_run(made, 0, NULL, NULL));
    STATUS(DA_OK, da_trainer_close(made));
}

int main(void) {
    /* Should settings ever ask for all memory there is, this process ends and not the machine. */
    struct rlimit limit = {4ul << 30, 4ul << 30};
    if (!SANITIZED) CHECK(!setrlimit(RLIMIT_AS, &limit), "no limit");
    write_files();
    bystander = new_trainer(&recipes[12], STEPS, "");
    STATUS(DA_OK, da_trainer_run(bystander, 1, NULL, NULL));
    bystander_state = state_of(bystander);
    test_settings();
    test_many_groups();
    test_numbers();
    STATUS(DA_OK, da_trainer_close(bystander));
    return check_summary("misuse_training");
}
