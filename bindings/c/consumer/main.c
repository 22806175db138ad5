/* Says which library it was linked with. */
#include <fleetfoot.h>
#include <stdio.h>

int main(void) {
    printf("fleetfoot %s, interface %u\n", ff_version_string(), (unsigned)(ff_abi_version() >> 16));
    return ff_abi_version() >> 16 == FF_ABI_MAJOR ? 0 : 1;
}
