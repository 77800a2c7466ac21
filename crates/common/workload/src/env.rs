//! Names of environment variables that must not come from the host.
//!
//! Each lets whoever sets it load code into a program, or change what code the program loads or whom it
//! trusts. [`crate::request::admit`] refuses them unless the manifest lists them; an ordinary unlisted
//! variable is only dropped. Refusing rather than dropping makes an attempted injection visible: no engine
//! sets any of these by itself.

/// Whole families, by prefix.
const PREFIXES: &[&str] = &[
    "LD_",        // ld.so: LD_PRELOAD, LD_LIBRARY_PATH, LD_AUDIT and the rest
    "PYTHON",     // PYTHONPATH, PYTHONSTARTUP, PYTHONHOME, PYTHONINSPECT
    "BASH_FUNC_", // exported shell functions
    "LUA_INIT",   // and its versioned forms, which run a chunk
    "LUA_PATH",
    "LUA_CPATH",
    "DOTNET_",  // start-up hooks, additional deps, profilers
    "CORECLR_", // profilers
    "COR_",     // likewise
    "PERL5",    // PERL5LIB, PERL5OPT, PERL5DB
    "GIT_SSH",  // commands git runs
    "MONO_",
];

/// Single names.
const NAMES: &[&str] = &[
    "BASHOPTS",
    "BASH_ENV",
    "CDPATH",
    "CLASSPATH",
    "CURL_CA_BUNDLE",
    "ENV",
    "GCONV_PATH",
    "GEM_HOME",
    "GEM_PATH",
    "GETCONF_DIR",
    "GIO_EXTRA_MODULES",
    "GLIBC_TUNABLES",
    "GODEBUG",
    "HOSTALIASES",
    "IFS",
    "JAVA_OPTIONS",
    "JAVA_OPTS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "JDK_JAVAC_OPTIONS",
    "_JAVA_OPTIONS",
    "LOCALDOMAIN",
    "LOCPATH",
    "MALLOC_TRACE",
    "NIS_PATH",
    "NLSPATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PERLLIB",
    "PERL_UNICODE",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PROMPT_COMMAND",
    "PS4",
    "REQUESTS_CA_BUNDLE",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "RUBYLIB",
    "RUBYOPT",
    "R_PROFILE",
    "R_PROFILE_USER",
    "SHELLOPTS",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TCLLIBPATH",
    "TERMINFO",
    "TERMINFO_DIRS",
    "ZDOTDIR",
];

/// Whether a variable of this name is refused from the host unless the manifest lists it.
#[must_use]
pub fn is_dangerous(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::is_dangerous;

    #[test]
    fn loader_variables_are_dangerous_and_what_engines_inject_is_not() {
        for name in [
            "LD_PRELOAD",
            "LD_AUDIT",
            "GCONV_PATH",
            "PYTHONPATH",
            "JAVA_TOOL_OPTIONS",
            "NODE_OPTIONS",
            "BASH_ENV",
            "BASH_FUNC_ls%%",
            "PERL5OPT",
        ] {
            assert!(is_dangerous(name), "{name}");
        }
        for name in [
            "PATH",
            "HOSTNAME",
            "HOME",
            "TERM",
            "KUBERNETES_SERVICE_HOST",
            "container",
            "OLD_LD_PRELOAD",
            "ENVIRONMENT",
        ] {
            assert!(!is_dangerous(name), "{name}");
        }
    }
}
