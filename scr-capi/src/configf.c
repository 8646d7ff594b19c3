/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The body of SCR_Configf: Rust cannot define variadic functions, so it exports a jump to this one (src/configf.rs).
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *SCR_Config(const char *config);

__attribute__((visibility("hidden")))
const char *scr_configf_impl(const char *format, ...)
{
    if (format == NULL) {
        return SCR_Config(NULL);
    }

    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);

    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text == NULL) {
        return NULL;
    }
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);

    const char *value = SCR_Config(text);
    free(text);
    return value;
}
