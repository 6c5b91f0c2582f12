/* Settings that a trainer must refuse, with a status and a text that names the place. */
#ifndef REFUSALS_H
#define REFUSALS_H

#include "learning.h"

struct bad {
    const char *settings;
    int32_t status;
    const char *part; /* of the text */
};

/* A text with each @name standing for a path in the folder, @teacher for that of `teacher`; names end at a quotation mark. */
SHARED const char *filled_for(const char *teacher, const char *text) {
    static char out[TEXT];
    size_t used = 0;
    for (const char *c = text; *c && used < sizeof out - 200; c++) {
        if (*c != '@') {
            out[used++] = *c;
            continue;
        }
        char name[64];
        size_t length = strcspn(c + 1, "\"");
        snprintf(name, sizeof name, "%.*s", (int)length, c + 1);
        used += (size_t)sprintf(out + used, "%s", !strcmp(name, "teacher") ? teacher : in_place(name));
        c += length;
    }
    out[used] = 0;
    return out;
}

/* Each of `cases` must be refused for `model`, when a trainer is made as when its memory is estimated. */
SHARED void refuse_all(const char *model, const char *teacher, const struct bad *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        da_trainer made = NULL;
        const char *settings = filled_for(teacher, cases[i].settings);
        int32_t status = try_trainer_of(model, settings, 1, 0, &made);
        CHECK(status == cases[i].status && strstr(da_last_error(), cases[i].part), "%s gives %s: %s, expected %s with \"%s\"",
              cases[i].settings, da_status_name(status), da_last_error(), da_status_name(cases[i].status), cases[i].part);
        if (made) da_trainer_close(made);
        size_t needed = 0;
        int32_t estimated = da_trainer_estimate(model, settings, strlen(settings), NULL, NULL, NULL, 0, &needed);
        /* What an estimate does not look at is the state. */
        CHECK(estimated == status || (estimated == DA_MORE && strstr(settings, "\"state\"")), "%s: estimate %s, create %s",
              cases[i].settings, da_status_name(estimated), da_status_name(status));
    }
}

#endif
