# Files from elsewhere, fetched where there is a network: snakemake --cores 1 resources
RESOURCES = config.get("resources", {})


rule resources:
    input:
        list(RESOURCES),
    localrule: True


for path, source in RESOURCES.items():

    rule:
        name:
            f"fetch_{Path(path).name}"
        output:
            directory(path)
            if source["url"].endswith((".tar", ".tgz", ".tar.gz"))
            else path,
        log:
            LOGS / "fetch" / f"{Path(path).name}.log",
        localrule: True
        conda:
            "../envs/ntvep.yaml"
        params:
            url=quote(source["url"]),
            unpack="--unpack" if source.get("unpack") else "",
            options=options_of(source, "release", "md5", "sha256", "md5_url"),
        shell:
            "ntvep fetch {params.url} --output {output:q} --force {params.unpack}"
            " {params.options} > {log:q} 2>&1"
