/*
 * sbat.c - the .sbat section, by which shim can revoke a version (rhboot/shim, SBAT.md): first the
 * version of the format, then us. Raise our number when a hole in Secure Boot is closed. In a file
 * of its own because gnu-efi's headers turn __attribute__ into nothing on this target.
 */
__attribute__((section(".sbat"), used)) static const char sbat[] =
    "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n"
    "plat,1,The Plat authors,plat,1,README.md\n";
