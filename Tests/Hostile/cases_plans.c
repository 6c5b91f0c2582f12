/* Plans as text and as files, and the router files they name. */
#include "hostile.h"

#include <sys/stat.h>
#include <unistd.h>

#define LOGITS "\"logits\":[[1,-2],[3,4]]"
#define P      "plan"

static const struct hostile texts[] = {
    {"none", "{}", 0, DA_OK, ""},
    {"no methods", "{\"methods\":[]}", 0, DA_OK, ""},
    {"one entry", "{\"method\":\"l2c\"," LOGITS "}", 0, DA_OK, ""},
    {"a router file", "{" LOGITS ",\"name\":\"x\",\"official_threshold\":0.5}", 0, DA_OK, ""},
    {"commented", "{\"methods\":[{\"method\":\"l2c\",\"policy\":\"none\",\"comment\":\"x\"}],\"version\":1}", 0, DA_OK, ""},
    {"empty", "", 0, DA_FORMAT, P},
    {"an array", "[]", 0, DA_FORMAT, "expected an object"},
    {"a text", "\"l2c\"", 0, DA_FORMAT, "expected an object"},
    {"cut", "{\"method\":\"l2c\"", 0, DA_FORMAT, "bad JSON at line 1"},
    {"line", "{\"method\":\n\"l2c\",\n!}", 0, DA_FORMAT, "bad JSON at line 3"},
    {"not UTF-8", "{\"method\":\"\xff\"}", 0, DA_FORMAT, "bad JSON at line 1"},
    {"duplicate", "{\"method\":\"l2c\",\"method\":\"l2c\"," LOGITS "}", 0, DA_FORMAT, "duplicate"},
    {"no method", "{\"policy\":\"none\"}", 0, DA_FORMAT, "method: missing"},
    {"another method", "{\"method\":\"l3c\"}", 0, DA_FORMAT, "method: no method \"l3c\""},
    {"method as number", "{\"method\":1}", 0, DA_FORMAT, "method"},
    {"method empty", "{\"method\":\"\"}", 0, DA_FORMAT, "method"},
    {"methods as object", "{\"methods\":{}}", 0, DA_FORMAT, "methods"},
    {"methods as text", "{\"methods\":\"l2c\"}", 0, DA_FORMAT, "methods"},
    {"methods of text", "{\"methods\":[\"l2c\"]}", 0, DA_FORMAT, "methods[0]"},
    {"methods of null", "{\"methods\":[{\"method\":\"l2c\",\"policy\":\"none\"},null]}", 0, DA_FORMAT, "methods[1]"},
    {"methods and more", "{\"methods\":[],\"x\":1}", 0, DA_FORMAT, "x: unknown name"},
    {"entry and more", "{\"method\":\"l2c\",\"policy\":\"none\",\"x\":1}", 0, DA_FORMAT, "no option \"x\""},
    {"nested methods", "{\"methods\":[{\"methods\":[]}]}", 0, DA_FORMAT, "methods[0].method"},
    {"another policy", "{\"method\":\"l2c\",\"policy\":\"always\"}", 0, DA_FORMAT, "policy"},
    {"policy as number", "{\"method\":\"l2c\",\"policy\":1}", 0, DA_FORMAT, "policy"},
    {"no interval", "{\"method\":\"l2c\",\"policy\":\"interval\"}", 0, DA_FORMAT, "interval: missing"},
    {"interval of zero", "{\"method\":\"l2c\",\"policy\":\"interval\",\"interval\":0}", 0, DA_FORMAT, "interval"},
    {"interval below", "{\"method\":\"l2c\",\"policy\":\"interval\",\"interval\":-1}", 0, DA_FORMAT, "interval"},
    {"interval above", "{\"method\":\"l2c\",\"policy\":\"interval\",\"interval\":1000001}", 0, DA_FORMAT, "interval"},
    {"interval beyond", "{\"method\":\"l2c\",\"policy\":\"interval\",\"interval\":9223372036854775807}", 0, DA_FORMAT,
     "interval"},
    {"interval broken", "{\"method\":\"l2c\",\"policy\":\"interval\",\"interval\":1.5}", 0, DA_FORMAT, "interval"},
    {"interval as text", "{\"method\":\"l2c\",\"policy\":\"interval\",\"interval\":\"2\"}", 0, DA_FORMAT, "interval"},
    {"no ratio", "{\"method\":\"l2c\",\"policy\":\"random\"}", 0, DA_FORMAT, "ratio: missing"},
    {"ratio above", "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":1.01}", 0, DA_FORMAT, "ratio"},
    {"ratio below", "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":-0.01}", 0, DA_FORMAT, "ratio"},
    {"ratio beyond numbers", "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":1e400}", 0, DA_FORMAT, "bad JSON"},
    {"seed below", "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":0.5,\"seed\":-1}", 0, DA_FORMAT, "seed"},
    {"seed above", "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":0.5,\"seed\":4294967296}", 0, DA_FORMAT, "seed"},
    {"threshold above", "{\"method\":\"l2c\",\"threshold\":1.5," LOGITS "}", 0, DA_FORMAT, "threshold"},
    {"threshold below", "{\"method\":\"l2c\",\"threshold\":-1," LOGITS "}", 0, DA_FORMAT, "threshold"},
    {"threshold as text", "{\"method\":\"l2c\",\"threshold\":\"0.1\"," LOGITS "}", 0, DA_FORMAT, "threshold"},
    {"no logits", "{\"method\":\"l2c\"}", 0, DA_FORMAT, "logits"},
    {"logits empty", "{\"method\":\"l2c\",\"logits\":[]}", 0, DA_FORMAT, "at least one row of logits"},
    {"logits as number", "{\"method\":\"l2c\",\"logits\":1}", 0, DA_FORMAT, "logits"},
    {"logits of numbers", "{\"method\":\"l2c\",\"logits\":[1,2]}", 0, DA_FORMAT, "logits[0]: expected a list"},
    {"logits of text", "{\"method\":\"l2c\",\"logits\":[[\"1\"]]}", 0, DA_FORMAT, "logits[0][0]: expected"},
    {"logits of null", "{\"method\":\"l2c\",\"logits\":[[1,2],[3,null]]}", 0, DA_FORMAT, "logits[1][1]: expected"},
    {"logits too deep", "{\"method\":\"l2c\",\"logits\":[[[1]]]}", 0, DA_FORMAT, "logits[0][0]: expected"},
    {"ragged logits", "{\"method\":\"l2c\",\"logits\":[[1,2],[3]]}", 0, DA_FORMAT, "router row 1 has 1 logits"},
    {"logits beyond float", "{\"method\":\"l2c\",\"logits\":[[1,2],[1,1e300]]}", 0, DA_FORMAT, "router row 1 holds a number"},
    {"empty row", "{\"method\":\"l2c\",\"logits\":[[1,2],[]]}", 0, DA_FORMAT, "router row 1 has 0 logits"},
    {"a file named in text", "{\"method\":\"l2c\",\"router\":\"router.json\"}", 0, DA_UNSUPPORTED, "router.json"},
    {"a file outside named in text", "{\"method\":\"l2c\",\"router\":\"/etc/passwd\"}", 0, DA_UNSUPPORTED, "/etc/passwd"},
    {"router as number", "{\"method\":\"l2c\",\"router\":1}", 0, DA_FORMAT, "router"},
};

/* What a plan's file may name as its router: the name, then what is said of it. */
static const struct hostile routers[] = {
    {"beside", "good.json", 0, DA_OK, ""},
    {"parent", "../good.json", 0, DA_FORMAT, "\"../good.json\" is not the name of a file"},
    {"absolute", "/etc/passwd", 0, DA_FORMAT, "\"/etc/passwd\" is not the name of a file"},
    {"down and up", "a/../good.json", 0, DA_FORMAT, "is not the name of a file"},
    {"backslash", "..\\\\good.json", 0, DA_FORMAT, "is not the name of a file"},
    {"empty", "", 0, DA_FORMAT, "is not the name of a file"},
    {"dot", ".", 0, DA_FORMAT, "is not the name of a file"},
    {"two dots", "..", 0, DA_FORMAT, "is not the name of a file"},
    {"newline", "a\\n.json", 0, DA_FORMAT, "is not the name of a file"},
    {"absent", "missing.json", 0, DA_IO, "missing.json: cannot be opened: no such file"},
    {"a link", "link.json", 0, DA_IO, "link.json: cannot be opened: is a symbolic link"},
    {"a pipe", "pipe.json", 0, DA_IO, "pipe.json: a pipe"},
    {"a directory", "folder", 0, DA_IO, "folder: a directory"},
    {"the plan itself", "plan.json", 0, DA_FORMAT, "plan.json"},
    {"empty file", "empty.json", 0, DA_FORMAT, "empty.json: empty"},
    {"weights", "weights.json", 0, DA_FORMAT, "weights.json: bad JSON"},
    {"an array", "array.json", 0, DA_FORMAT, "array.json: expected an object"},
    {"ragged", "ragged.json", 0, DA_FORMAT, "ragged.json: router row 1"},
    {"without logits", "none.json", 0, DA_FORMAT, "none.json: logits: missing"},
};

/* No text at all is no JSON of the wrong form but a wrong argument. */
static void lengths(void) {
    hostile_plan("no bytes", NULL, "{}", 0, 0, DA_INVALID_ARGUMENT,
                 "a plan needs 1...67108864 bytes of JSON or a rule, found 0");
    hostile_plan("more bytes than are read", NULL, "{}", ((size_t)64 << 20) + 1, 0, DA_INVALID_ARGUMENT, "a plan needs 1...");
    hostile_plan("as many bytes as there are numbers", NULL, "{}", SIZE_MAX, 0, DA_INVALID_ARGUMENT, "a plan needs 1...");
    hostile_plan("null", NULL, NULL, 2, 0, DA_INVALID_ARGUMENT, "a plan needs 1...");
}

static void put(const char *name, const char *text) { hostile_write(name, text, strlen(text)); }

static void router_files(void) {
    char path[600], root[512];
    snprintf(root, sizeof root, "%s/plans", hostile_folder());
    mkdir(root, 0700);
    put("plans/good.json", "{" LOGITS "}");
    put("good.json", "{" LOGITS "}");
    put("plans/empty.json", "");
    put("plans/weights.json", "\x10\1\1\1\1\1\1\1{}");
    put("plans/array.json", "[]");
    put("plans/ragged.json", "{\"logits\":[[1,2],[3]]}");
    put("plans/none.json", "{\"steps\":3}");
    snprintf(path, sizeof path, "%s/link.json", root);
    CHECK(!symlink("good.json", path), "a link");
    snprintf(path, sizeof path, "%s/pipe.json", root);
    CHECK(!mkfifo(path, 0600), "a pipe");
    snprintf(path, sizeof path, "%s/folder", root);
    mkdir(path, 0700);
    for (size_t i = 0; i < sizeof routers / sizeof *routers; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"method\":\"l2c\",\"router\":\"%s\"}", routers[i].text);
        put("plans/plan.json", text);
        snprintf(path, sizeof path, "%s/plan.json", root);
        hostile_plan(routers[i].id, path, NULL, 0, strlen(text), routers[i].status, routers[i].part);
    }
    hostile_remove("plans");
    hostile_plan("a device as plan", "/dev/zero", NULL, 0, 0, DA_IO, "/dev/zero: a device");
    hostile_plan("a directory as plan", hostile_folder(), NULL, 0, 0, DA_IO, "a directory");
    hostile_plan("no plan", "/nowhere/plan.json", NULL, 0, 0, DA_IO,
                 "/nowhere/plan.json: there is no such file, and no rule of that name");
}

void cases_plans(void) {
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct hostile *h = &texts[i];
        size_t length = strlen(h->text);
        if (length) hostile_plan(h->id, NULL, h->text, length, length, h->status, h->part);
        /* The same text in a file, whose name the failure gives; what names other files is told apart there. */
        if (strstr(h->text, "\"router\":\"")) continue;
        const char *path = hostile_write("a-plan.json", h->text, length);
        hostile_plan(h->id, path, NULL, 0, length, h->status, h->status == DA_OK ? "" : h->part);
        if (h->status != DA_OK) {
            da_plan plan = NULL;
            da_plan_load(path, &plan);
            CHECK(strstr(da_last_error(), "a-plan.json") != NULL, "%s: the file is not named: %s", h->id, da_last_error());
        }
    }
    lengths();
    router_files();
}
