"""What is said of pipelines, in Chinese."""

TABLE: dict[str, str] = {
    # --- parallel/layout ---
    'config.mesh.stage={size}: stages share out the layers of a scanned stack, and this model has none. Set'
    ' --config.model.scan=True where the model has that argument, or --config.mesh.stage=1'
    ' --config.mesh.data={data}.': (
        'config.mesh.stage={size}：各流水级分担的是扫描式堆叠（scan）的层，而这个模型没有。若模型有这个参数，请设'
        ' --config.model.scan=True；否则请设 --config.mesh.stage=1 --config.mesh.data={data}。'
    ),
    # --- parallel/pipeline ---
    'config.mesh.stage={stages} does not divide config.model.layers={layers}, and every stage has as many:'
    ' --config.model.layers={near} would do, or --config.mesh.stage={fewer}.': (
        'config.mesh.stage={stages} 不能整除 config.model.layers={layers}，而各流水级的层数必须相同：'
        '可用 --config.model.layers={near}，或 --config.mesh.stage={fewer}。'
    ),
    'config.model.micro_batches={count}: every one of config.mesh.stage={stages} brings as many;'
    ' --config.model.micro_batches={near} would do, or 0, which finds a number.': (
        'config.model.micro_batches={count}：config.mesh.stage={stages} 的每一级带来的微批数必须相同；'
        '可用 --config.model.micro_batches={near}，或 0（自动选择）。'
    ),
    'config.mesh.stage={stages}: {rows} rows (config.batch_size / config.accumulate) cannot be cut into'
    ' config.model.micro_batches={count} on {shards} devices (mesh {axes}); the nearest that can: {near}.'
    ' --config.model.micro_batches=0 finds a number for any multiple of {shards} rows.': (
        'config.mesh.stage={stages}：{rows} 行（config.batch_size / config.accumulate）无法在 {shards} 个设备上'
        '（网格 {axes}）切成 config.model.micro_batches={count} 个微批；可行的最接近的行数是 {near}。'
        '对 {shards} 的任何倍数，--config.model.micro_batches=0 都会自动选出一个数。'
    ),
}
