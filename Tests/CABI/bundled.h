/* The bundled models, in the folder that a program is called with. */
#ifndef BUNDLED_H
#define BUNDLED_H

#include "misuse.h"

static const char *bundled_folder;

/* Takes the folder from the program's arguments; 0 when there is none, which is said. */
static int bundled_begin(const char *name, int count, char **arguments) {
    if (count < 2) fprintf(stderr, "usage: %s folder-of-the-bundled-models\n", name);
    else bundled_folder = arguments[1];
    return count >= 2;
}

static const char *bundled_path(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", bundled_folder, name);
    return path;
}

SHARED da_model bundled_model(const char *name) {
    da_model own = NULL;
    STATUS(DA_OK, da_model_open(bundled_path(name), NULL, &own));
    return own;
}

/* A session of the model `name`, under the plan in the file `plan_name` unless that is null. */
SHARED da_session bundled_session(const char *name, const char *plan_name) {
    da_model own = bundled_model(name);
    da_plan own_plan = NULL;
    if (plan_name) STATUS(DA_OK, da_plan_load(bundled_path(plan_name), &own_plan));
    da_session made = check_session(own, own_plan, 2);
    if (own_plan) STATUS(DA_OK, da_plan_close(own_plan));
    STATUS(DA_OK, da_model_close(own));
    return made;
}

#endif
