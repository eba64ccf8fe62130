# Writes OUT, a C file that holds the commit of the tree SOURCE: `git describe` as of this build, COMMIT where that is
# given (a build without the repository), else "unknown". The file is touched only when it changes.
set(commit "${COMMIT}")
if(NOT commit)
    execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12
        OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(failed OR NOT commit MATCHES "^[-._/A-Za-z0-9]+$")
        set(commit "unknown")
    endif()
endif()
set(text "extern const char vr_commit[];\nconst char vr_commit[] = \"${commit}\";\n")
set(old "")
if(EXISTS ${OUT})
    file(READ ${OUT} old)
endif()
if(NOT text STREQUAL old)
    file(WRITE ${OUT} "${text}")
endif()
