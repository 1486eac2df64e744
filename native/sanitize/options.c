/*
 * How the sanitizers behave inside acejail. Linked into sanitizer builds only: the environment of the jail's processes is
 * made by the jail, so ASAN_OPTIONS of whoever runs the tests does not reach them.
 *
 * Leak detection needs ptrace and /proc, which the jail does not have; the long-lived processes are watched for growth
 * by the soak instead. A report ends the process, so a test notices.
 */

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=1";
}

const char *__ubsan_default_options(void)
{
    return "halt_on_error=1:abort_on_error=1:print_stacktrace=1";
}
