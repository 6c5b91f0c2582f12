/* The same for learning: each allocation and thread of a whole use of a trainer is refused, once and from then on. Each time a
 * status, nothing made, nothing leaked; the trainer that was refused something stands after a whole step and goes on with the
 * same bits. */
#define _GNU_SOURCE
#include "failing.h"
#include "learning.h"

enum { WHOLE = 3 };

/* A method of each kind takes its turn. */
static const int which[] = {2, 4, 8, 15, 17};
enum { TURNS = sizeof which / sizeof *which };
static int turn;
static struct bytes expected[TURNS][WHOLE + 1];
static da_trainer trainer;

static void compare(const char *what) {
    int step = (int)described(trainer, "step");
    CHECK(step >= 0 && step <= WHOLE, "step %d", step);
    struct bytes now = state_of(trainer);
    struct bytes *known = &expected[turn][step < 0 || step > WHOLE ? 0 : step];
    if (!known->data) *known = now;
    else {
        CHECK(same_bytes(now, *known), "%s, %s: another state after %d steps", recipes[which[turn]].name, what, step);
        free(now.data);
    }
}

/* Everything that can be asked of a trainer. */
static void look(const struct recipe *recipe) {
    static char text[1 << 16];
    da_plan plan = NULL;
    good("da_trainer_describe", da_trainer_describe(trainer, text, sizeof text, NULL), DA_OK, NULL);
    good("da_trainer_evaluate", da_trainer_evaluate(trainer, 1, text, sizeof text, NULL), DA_OK, NULL);
    if (recipe->plan) good("da_trainer_plan", da_trainer_plan(trainer, &plan), DA_OK, plan);
    if (plan) STATUS(DA_OK, da_plan_close(plan));
    if (recipe->exported) good("da_trainer_export", da_trainer_export(trainer, in_place("export")), DA_OK, NULL);
    if (good("da_trainer_save", da_trainer_save(trainer, in_place("state")), DA_OK, NULL))
        good("da_trainer_restore", da_trainer_restore(trainer, in_place("state")), DA_OK, NULL);
}

static int use(void) {
    const struct recipe *recipe = &recipes[which[turn]];
    static char text[1024];
    int before = refusals;
    da_trainer_options options;
    STATUS(DA_OK, da_trainer_options_init(&options, sizeof options));
    options.threads = 3;
    const char *settings = settings_of(recipe, WHOLE, "");
    good("da_trainer_estimate",
         da_trainer_estimate(model_of(recipe), settings, strlen(settings), NULL, &options, text, sizeof text, NULL), DA_OK,
         NULL);
    good("da_trainer_create", da_trainer_create(model_of(recipe), settings, strlen(settings), NULL, &options, &trainer), DA_OK,
         trainer);
    if (trainer) {
        good("da_trainer_run", da_trainer_run(trainer, 2, NULL, NULL), DA_OK, NULL);
        look(recipe);
    }
    return refusals == before;
}

/* Where it was stopped, and after the rest, it has the bits of a use without faults. */
static void settle(void) {
    if (!trainer) return;
    compare("stopped");
    STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
    CHECK(described(trainer, "step") == WHOLE, "%s does not go on", recipes[which[turn]].name);
    compare("at the end");
    STATUS(DA_OK, da_trainer_close(trainer));
    trainer = NULL;
}

/* Usage: failing_training [step for blocks of any size]. The first method has every large block refused, the others some. */
int main(int count, char **arguments) {
    for (turn = 0; turn < TURNS; turn++) {
        for (int step = 0; step <= WHOLE; step++) {
            trainer = new_trainer(&recipes[which[turn]], WHOLE, "");
            if (step) STATUS(DA_OK, da_trainer_run(trainer, step, NULL, NULL));
            settle();
        }
        fail_everything(turn ? 7 : 1, count > 1 ? atoi(arguments[1]) : 997);
    }
    return check_summary("failing_training");
}
