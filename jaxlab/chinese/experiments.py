"""How long to train, what is the best, and races; see `jaxlab.chinese`."""

TABLE: dict[str, str] = {
    'config.{key}={value}: devices count and compute in 32 bits; between {low:.8g} and {high:.8g} is wanted.': (
        'config.{key}={value}：设备以 32 位计数和计算；应在 {low:.8g} 与 {high:.8g} 之间。'
    ),
    'config.{key}={value}: in 32 bits this is 0; at least {least} is wanted.': (
        'config.{key}={value}：以 32 位表示时它是 0；应至少为 {least}。'
    ),
    'config.{key}={value}: at most {most} is wanted.': 'config.{key}={value}：最多为 {most}。',
    '{name}={value}: at most {most} is wanted.': '{name}={value}：最多为 {most}。',
    'config.epochs={epochs} are {steps} steps; at most {most} are wanted.': (
        'config.epochs={epochs} 相当于 {steps} 步；最多为 {most} 步。'
    ),
    '{key}: nothing can be read at "{path}" ({error}).': '{key}：无法读取“{path}”（{error}）。',
    'length={length} × {rows} rows of config.batch_size take {wanted:,.0f} GB, and this machine has {there:,.0f} GB;'
    ' make one of them smaller.': (
        'length={length} × config.batch_size 的 {rows} 行占用 {wanted:,.0f} GB，'
        '而这台机器有 {there:,.0f} GB；请减小其一。'
    ),
    # --- a workdir that somebody else wrote ---
    'config.json is damaged: this JSON is no config that jaxlab has written.': (
        'config.json 已损坏：这段 JSON 不是 jaxlab 写下的配置。'
    ),
    'config.json is damaged: {key}={value} is not of the type of its default, {default}.': (
        'config.json 已损坏：{key}={value} 与其默认值 {default} 类型不同。'
    ),
    'config.json is damaged: {key} names no part.': 'config.json 已损坏：{key} 没有写明组件的名称。',
    '{folder} is damaged: it holds no processor "{name}" ({error}).\nBring it back from a copy, or give another'
    ' --workdir to start anew.': (
        '{folder} 已损坏：其中没有处理器“{name}”（{error}）。\n请从备份恢复，或换一个 --workdir 重新开始。'
    ),
    '{file} is damaged.\nBring it back from a copy, or give another --workdir to start anew.': (
        '{file} 已损坏。\n请从备份恢复，或换一个 --workdir 重新开始。'
    ),
    '{file} cannot be read ({error}).': '无法读取 {file}（{error}）。',
    '{workdir} cannot be built from its record ({error}): its config.json or processor/data.json is damaged, or the'
    ' code has changed.': (
        '无法根据记录重建 {workdir}（{error}）：它的 config.json 或 processor/data.json 已损坏，或者代码已经改变。'
    ),
    '{folder}: its record of the best evaluation is damaged.': '{folder}：其中关于最佳评估的记录已损坏。',
    'config.evaluate.scores={scores}: a tuple of names is wanted, such as ("perplexity",).': (
        'config.evaluate.scores={scores}：应为名称组成的元组，例如 ("perplexity",)。'
    ),
    '"{text}" is no step: a number, best or newest is': '"{text}" 不是步：应为数字、best 或 newest',
    '--config.steps={steps} and --config.epochs={epochs}: one of them says how long to train.': (
        '--config.steps={steps} 与 --config.epochs={epochs}：训练多久只能由其中一个决定。'
    ),
    '--config.batch_size={rows}: with config.full_batch=true a batch has all rows; config.accumulate cuts it.': (
        '--config.batch_size={rows}：config.full_batch=true 时一批就是全部的行；用 config.accumulate 切分它。'
    ),
    '--config={argument} is {count} experiments; {argument}:{name} is one of them.': (
        '--config={argument} 是 {count} 个实验；{argument}:{name} 是其中之一。'
    ),
    'batches in an epoch: {batches:,.5g}': '每轮批数：{batches:,.5g}',
    'config.best.patience={patience}: nothing is evaluated that training could be ended by'
    ' (config.evaluate.every={every}, config.best.score="{score}").': (
        'config.best.patience={patience}：没有可据以提前结束训练的评估'
        '（config.evaluate.every={every}，config.best.score="{score}"）。'
    ),
    'config.best.score={score}: this is not measured; there are: {known}.{near}': (
        'config.best.score={score}：没有测量这个指标；现有：{known}。{near}'
    ),
    'config.best.score={score}: what is chosen by the test part cannot be tested on it; there are: {known}.': (
        'config.best.score={score}：用测试集做选择，就不能再用它来测试；现有：{known}。'
    ),
    'config.best.{name}={value}: a number from 0 up is wanted.': 'config.best.{name}={value}：应为不小于 0 的数。',
    'config.epochs={epochs}: a number above 0 is wanted, or 0 where config.steps says it.': (
        'config.epochs={epochs}：应为大于 0 的数；若由 config.steps 决定，则为 0。'
    ),
    'config.{key}: these data have no end ({data}).': 'config.{key}：这些数据没有尽头（{data}）。',
    'drop={drop}: a factor above 0 and below 1 is wanted.': 'drop={drop}：应为大于 0 且小于 1 的系数。',
    'ended early at step {step}: {score} has not improved in {since} evaluations; the best was {value:.4f}'
    ' at step {best} (--step=best)': (
        '在第 {step} 步提前结束：{score} 在 {since} 次评估中没有改善；最好的是第 {best} 步的 {value:.4f}（--step=best）'
    ),
    'least={least}: a number from 0 up is wanted.': 'least={least}：应为不小于 0 的数。',
    'saved in {folder}; the same command goes on': '已存入 {folder}；同一命令会继续',
    'the best {score} was {value:.4f} at step {step}; its checkpoint is kept (--step=best)': (
        '{score} 在第 {step} 步最好（{value:.4f}）；它的检查点已保留（--step=best）'
    ),
    '{name}: {error}': '{name}：{error}',
    '{name}={value}: at least {low} is wanted.': '{name}={value}：至少应为 {low}。',
    '{number} of {count}: {name}': '第 {number} 个，共 {count} 个：{name}',
    '{number} of {count}: {name} is finished': '第 {number} 个，共 {count} 个：{name} 已完成',
    '{workdir}: no checkpoint is the best: none was evaluated; there are {saved}.': (
        '{workdir}：没有最好的检查点：从未评估过；现有 {saved}。'
    ),
    '{workdir}: no checkpoint of step {step}; there are {saved}.': (
        '{workdir}：没有第 {step} 步的检查点；现有 {saved}。'
    ),
    '{workdir}: there is no checkpoint yet.': '{workdir}：还没有检查点。',
    'a checkpoint: its number, best or newest (default)': '哪个检查点：步数、best 或 newest（默认）',
    '--config={argument}: {error}{near}': '--config={argument}：{error}{near}',
}
