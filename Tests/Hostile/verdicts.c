/* Every hostile input of the tables: status, text, memory, and a good file afterwards. */
#include "hostile.h"

int main(void) {
    cases_safetensors();
    cases_numbers();
    cases_large();
    cases_shards();
    cases_places();
    cases_downloads();
    cases_configs();
    cases_schedulers();
    cases_plans();
    cases_options();
    cases_npy();
    cases_states();
    cases_pipelines();
    cases_prompts();
    printf("hostile inputs: %d\n", hostile_count());
    CHECK(hostile_count() >= 3000, "only %d hostile inputs", hostile_count());
    return hostile_summary("verdicts");
}
