# The workflow lies in workflow/, where the workflow catalogue looks for it. An included file never
# sets the default target, so it is named here.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
