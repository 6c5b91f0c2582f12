/* Every option of a sampling request at values that nobody should pass: numbers, types, names and words. */
#include "option_requests.h"

/* A request with the option `name`, and a label if that is another one. */
static const char *with(const char *name, const char *value) {
    return quoted("{'%s':%s%s}", name, value, strcmp(name, "labels") ? ",'labels':1" : "");
}

/* The option `name` with a number, alone and where it has a meaning. */
static void try_number(const char *name, const char *number) {
    try_request(with(name, number));
    try_request(quoted("{'sampler':'ddpm','spacing':'leading','%s':%s%s}", name, number,
                       strcmp(name, "labels") ? ",'labels':[1,2]" : ""));
}

static const char *const number_options[] = {"steps", "guidance_channels", "steps_offset", "decode", "tile", "seed", "labels",
                                             "eta",   "guidance"};

static void test_numbers(void) {
    char number[32];
    static const char *const texts[] = {"1e3",
                                        "1.5",
                                        "-0",
                                        "0.0",
                                        "1e400",
                                        "-1e400",
                                        "1e-400",
                                        "18446744073709551616",
                                        "28.0",
                                        "1E2",
                                        "1e19",
                                        "1e18",
                                        "99999999999999999999999999999999999999",
                                        "-9223372036854775809",
                                        "9223372036854775807",
                                        "2147483648",
                                        "4.9e-324",
                                        "1e308"};
    for (size_t k = 0; k < COUNT(number_options); k++) {
        for (size_t i = 0; i < COUNT(hostile32); i++) {
            snprintf(number, sizeof number, "%d", hostile32[i]);
            try_number(number_options[k], number);
        }
        for (size_t i = 0; i < COUNT(hostile64); i++) {
            snprintf(number, sizeof number, "%llu", (unsigned long long)hostile64[i]);
            try_number(number_options[k], number);
            snprintf(number, sizeof number, "%lld", (long long)hostile64[i]);
            try_number(number_options[k], number);
        }
        for (size_t i = 0; i < COUNT(hostile_floats); i++) {
            snprintf(number, sizeof number, "%.17g", hostile_floats[i]);
            try_number(number_options[k], number);
        }
        for (size_t i = 0; i < COUNT(texts); i++) try_number(number_options[k], texts[i]);
    }
}

/* What is out of range is refused with the option's name, at both ends, and what is just within is taken. */
static void test_ranges(void) {
    static const struct {
        const char *name, *least, *most, *below, *above;
    } ranges[] = {{"steps", "1", "1000", "0", "1001"},
                  {"eta", "0", "1", "-1e-9", "1.0000001"},
                  {"guidance", "0", "1000", "-0.5", "1000.5"},
                  {"guidance_channels", "1", "4", "0", "5"},
                  {"seed", "0", "9223372036854775807", "-1", "9223372036854775808"},
                  {"tile", "8", "4096", "7", "4097"},
                  {"labels", "0", "10", "-1", "11"},
                  {"steps_offset", "0", "0", "-1", "1001"}};
    for (size_t i = 0; i < COUNT(ranges); i++) {
        const char *name = ranges[i].name;
        CHECK(try_request(with(name, ranges[i].least)) == DA_OK, "%s %s: %s", name, ranges[i].least, da_last_error());
        CHECK(try_request(with(name, ranges[i].most)) == DA_OK, "%s %s: %s", name, ranges[i].most, da_last_error());
        refused(with(name, ranges[i].below), DA_INVALID_ARGUMENT, name);
        refused(with(name, ranges[i].above), DA_INVALID_ARGUMENT, name);
    }
}

/* What is no number in JSON. */
static void test_no_numbers(void) {
    static const char *const none[] = {"NaN", "Infinity", "-Infinity", "nan", "inf", "0x10",
                                       "01",  "+1",       ".5",        "1.",  "--1", "1e"};
    for (size_t k = 0; k < COUNT(number_options); k++)
        for (size_t i = 0; i < COUNT(none); i++) /* The first three are what Python writes, and read to be told apart. */
            refused(with(number_options[k], none[i]), i < 3 ? DA_INVALID_ARGUMENT : DA_FORMAT,
                    i < 3 ? number_options[k] : "request");
}

/* A value of another type is refused with the option's name, what was expected and what was found. */
static void test_types(void) {
    static const struct {
        const char *name, *type;
    } options[] = {{"steps", "an integer"},     {"eta", "a number"},
                   {"guidance", "a number"},    {"seed", "an integer"},
                   {"decode", "true or false"}, {"sampler", "one of"},
                   {"spacing", "a string"},     {"tile", "an integer"},
                   {"labels", "an integer"},    {"guidance_channels", "an integer"}};
    static const char *const values[] = {"[]", "{}", "[[1]]", "[null]", "{\"a\":1}", "[1,{}]", "[\"x\",3.5]"};
    for (size_t i = 0; i < COUNT(options); i++) {
        for (size_t k = 0; k < COUNT(values); k++) {
            refused(with(options[i].name, values[k]), DA_INVALID_ARGUMENT, options[i].name);
            CHECK(strstr(da_last_error(), options[i].type), "no type in: %s", da_last_error());
        }
        if (strcmp(options[i].name, "decode")) refused(with(options[i].name, "true"), DA_INVALID_ARGUMENT, options[i].name);
        /* A word for a label is looked up among the classes. */
        refused(with(options[i].name, "'no such word'"), DA_INVALID_ARGUMENT,
                strcmp(options[i].name, "labels") ? options[i].name : "there is no class \"no such word\"");
        /* null is not given. */
        if (strcmp(options[i].name, "labels"))
            CHECK(try_request(with(options[i].name, "null")) == DA_OK, "%s null: %s", options[i].name, da_last_error());
        else refused("{\"labels\":null}", DA_INVALID_ARGUMENT, "\"labels\" is missing");
    }
    refused(with("decode", "2"), DA_INVALID_ARGUMENT, "decode");
    refused(with("decode", "'yes'"), DA_INVALID_ARGUMENT, "decode");
    refused("{\"labels\":[1,2,11]}", DA_INVALID_ARGUMENT, "labels[2]");
    refused("{\"labels\":[]}", DA_INVALID_ARGUMENT, "labels");
}

static void test_names(void) {
    static const struct {
        const char *json, *part;
    } cases[] = {{"{\"step\":5}", "no option \"step\"; did you mean \"steps\""},
                 {"{\"guidence\":5}", "did you mean \"guidance\""},
                 {"{\"Steps\":5}", "did you mean \"steps\""},
                 {"{\"label\":5}", "did you mean \"labels\""},
                 {"{\"\":5}", "no option \"\"; there are labels, steps,"},
                 {"{\"something_else_entirely\":5}", "there are labels, steps, sampler"},
                 {"{\"noise\":5}", "no option \"noise\""},
                 {"{\"prompt\":\"a\"}", "no option \"prompt\""},
                 {"{\"labels\":1,\"sampler\":\"ddmi\"}", "sampler"},
                 {"{\"steps\":6,\"unknown\":null}", "no option \"unknown\""}};
    for (size_t i = 0; i < COUNT(cases); i++) refused(cases[i].json, DA_INVALID_ARGUMENT, cases[i].part);
    CHECK(try_request(with("comment", "{'steps':[true,null]}")) == DA_OK, "a comment: %s", da_last_error());
    /* Names of a megabyte, and texts too. */
    static char text[1 << 20];
    for (int value = 0; value < 3; value++) {
        static const char *const heads[] = {"{\"", "{\"labels\":1,\"sampler\":\"", "{\"labels\":1,\"spacing\":\""};
        memset(text, '1', sizeof text);
        memcpy(text, heads[value], strlen(heads[value]));
        strcpy(text + sizeof text - 6, value ? "\"}" : "\":0}");
        refused(text, DA_INVALID_ARGUMENT, value == 0 ? "no option \"111" : value == 1 ? "sampler" : "spacing");
        CHECK(strlen(da_last_error()) < 2048, "an error text of %zu bytes", strlen(da_last_error()));
    }
}

/* Words that are none, and those that are. */
static void test_texts(void) {
    static const char *const texts[] = {"",
                                        " ",
                                        "ddim ",
                                        "DDIM",
                                        "0",
                                        "-1",
                                        "1,",
                                        ",1",
                                        "1,,1",
                                        "1,1",
                                        "6",
                                        "2,2,2",
                                        "99999999999999999999",
                                        "2147483648",
                                        "9223372036854775808",
                                        "0,6",
                                        "-6,12",
                                        "1e3",
                                        "0x6",
                                        "6.0",
                                        "even",
                                        "strided",
                                        "leading",
                                        "%s%n"};
    static const struct {
        const char *option, *others;
    } forms[] = {{"sampler", ",'labels':1,'steps':6"},
                 {"spacing", ",'labels':1,'steps':6"},
                 {"spacing", ",'labels':1"},
                 {"tile", ",'labels':1"},
                 {"labels", ""},
                 {"guidance_channels", ",'labels':1"}};
    for (size_t i = 0; i < COUNT(texts); i++)
        for (size_t k = 0; k < COUNT(forms); k++)
            try_request(quoted("{'%s':'%s'%s}", forms[k].option, texts[i], forms[k].others));
    CHECK(try_request("{\"labels\":1,\"tile\":\"auto\",\"guidance_channels\":\"all\"}") == DA_OK, "%s", da_last_error());
    CHECK(try_request("{\"labels\":1,\"tile\":\"never\"}") == DA_OK, "%s", da_last_error());
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_requests");
    test_numbers();
    test_ranges();
    test_no_numbers();
    test_types();
    test_names();
    test_texts();
    return misuse_end("misuse_requests");
}
