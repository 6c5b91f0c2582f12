/* The start of the program in the form that glibc 2.27 has (see Sources/COlderLibc).
 *
 * From 2.34 on the C library itself runs a program's constructors. An earlier one is given a function that does, which later
 * ones call too where there is one. */
#if defined __x86_64__
#define FIRST "GLIBC_2.2.5"
#else
#define FIRST "GLIBC_2.17"
#endif

typedef void constructor(int count, char **arguments, char **environment);
typedef int body(int count, char **arguments, char **environment);
typedef int start(body *main, int count, char **arguments, constructor *initialise, void (*finish)(void), void (*unload)(void),
                  void *stack);

extern constructor *__init_array_start[], *__init_array_end[];
extern void _init(void);

static void construct(int count, char **arguments, char **environment) {
    _init();
    for (constructor **each = __init_array_start; each < __init_array_end; each++) (*each)(count, arguments, environment);
}

start older_start, __wrap___libc_start_main;
__asm__(".symver older_start,__libc_start_main@" FIRST);

int __wrap___libc_start_main(body *main, int count, char **arguments, constructor *initialise, void (*finish)(void),
                             void (*unload)(void), void *stack) {
    return older_start(main, count, arguments, initialise ? initialise : construct, finish, unload, stack);
}
