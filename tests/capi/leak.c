/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Loses what SCR_Config gave it: whoever looks for leaks must find this one. */
#include "check.h"

int main(void)
{
    return SCR_Config("SCR_CACHE_BASE") == NULL;
}
