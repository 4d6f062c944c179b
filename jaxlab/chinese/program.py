"""What is said of the command line, its verbs, configs and workdirs, in Chinese."""

TABLE: dict[str, str] = {
    ' Did you mean "{name}"?': '您是不是想写“{name}”？',
    'there are {names}.{nearest}': '可选的有 {names}。{nearest}',
    # --- main ---
    '{usage} [flags of the verb]': '{usage} [该命令的选项]',
    'verbs (train when none is given):': '命令（不写则为 train）：',
    'Each has its own flags: {command}': '每个命令有自己的选项：{command}',
    'usage: ': '用法：',
    'options': '选项',
    'show this help message and exit': '显示这段帮助并退出',
    'jaxlab: interrupted': 'jaxlab: 已中断',
    '"{verb}" is no verb; they are {verbs}.{nearest}': '没有命令“{verb}”；可选的有 {verbs}。{nearest}',
    '{flag}: {verb} has no such flag.{nearest}': '{flag}：{verb} 没有这个选项。{nearest}',
    '--config.{key} wants a value: --config.{key}=…': '--config.{key} 需要一个值：--config.{key}=…',
    'the following arguments are required: {flags}; --help lists what there is.': (
        '缺少必需的选项：{flags}；--help 会列出所有选项。'
    ),
    'argument {flag}: expected one argument; --help lists what there is.': (
        '选项 {flag} 需要一个值；--help 会列出所有选项。'
    ),
    'argument {flag}: ignored explicit argument {value}; --help lists what there is.': (
        '选项 {flag} 不带值，却给了 {value}；--help 会列出所有选项。'
    ),
    'argument {flag}: invalid {type} value: {value}; --help lists what there is.': (
        '选项 {flag}：{value} 不是有效的 {type}；--help 会列出所有选项。'
    ),
    'argument {flag}: invalid choice: {value} (choose from {choices}); --help lists what there is.': (
        '选项 {flag}：不能取 {value}（可选的有 {choices}）；--help 会列出所有选项。'
    ),
    '{message}; --help lists what there is.': '{message}；--help 会列出所有选项。',
    # --- verbs ---
    'Train an experiment; the same command resumes it.': '训练一个实验；再次运行同一条命令会接着训练。',
    'the experiment: a file, with a size after a colon: configs/transformer.py:tiny; default: the config.json of'
    ' --workdir': '实验的配置文件，冒号后可写规模：configs/transformer.py:tiny；默认用 --workdir 里的 config.json',
    'where everything lies; default: runs/<config>-<8 hex of the experiment>': (
        '存放一切的文件夹；默认是 runs/<配置名>-<实验身份的 8 位十六进制数>'
    ),
    'a package that the config may import from': '允许配置从中导入代码的包',
    'say what to train: --config=configs/transformer.py (or --workdir=… to go on with a run).': (
        '请说明要训练什么：--config=configs/transformer.py（或用 --workdir=… 接着训练已有的实验）。'
    ),
    'saved in {workdir}; to go on: {command}': '已保存到 {workdir}；要接着训练：{command}',
    'next: {use}\n      {evaluate}': '接下来：{use}\n        {evaluate}',
    'Evaluate a trained experiment on all of its held-out part.': '在全部留出部分上评估一个训练好的实验。',
    'the experiment': '实验所在的文件夹',
    'which part of the data; default: the one that training looks at': '用数据的哪一部分；默认用训练时查看的那一部分',
    'how many batches; default: all': '用多少批；默认用全部',
    'print one JSON object': '输出一个 JSON 对象',
    '{count:,} documents': '{count:,} 个文档',
    '{count:,} bytes': '{count:,} 字节',
    '{count:,} tokens': '{count:,} 个词元',
    '{count:,} examples': '{count:,} 个样本',
    '{split} at step {step}': '{split}，第 {step} 步',
    'what the text starts with': '文本的开头',
    'how many to write (default 200)': '写多少个词元（默认 200）',
    '0: always the likeliest; 1: as the model says (default 0.8)': (
        '0：总取最可能的词元；1：按模型给出的概率取（默认 0.8）'
    ),
    'choose among the k likeliest only; 0: among all': '只从最可能的 k 个词元中选；0：从全部词元中选',
    'choose among the likeliest that make up p of the probability': '只从累计概率达到 p 的最可能的词元中选',
    # --- config ---
    '"{path}": a part is named by its room and name, such as "models.gpt"; rooms: {rooms}.': (
        '“{path}”：部件要写成“类别.名字”，例如“models.gpt”；类别有 {rooms}。'
    ),
    '{room}.{name}: argument "{argument}" wants a default that a flag can change (true, 1, 0.5, "text", a tuple,'
    ' spec(…)); for "none" take 0 or "".': (
        '{room}.{name}：参数“{argument}”需要一个能用命令行选项修改的默认值（true、1、0.5、"text"、元组、spec(…)）；'
        '要表示“无”，请用 0 或 ""。'
    ),
    '{room}.{name} has no argument "{argument}".{nearest}': '{room}.{name} 没有参数“{argument}”。{nearest}',
    '{room}.{name}: {argument}={value!r} is not of the type of its default, {default!r}.': (
        '{room}.{name}：{argument}={value!r} 与默认值 {default!r} 的类型不同。'
    ),
    'name "{name}": no module {module} on the Python path (PYTHONPATH=… adds a folder).': (
        '名字“{name}”：Python 搜索路径上没有模块 {module}（可用 PYTHONPATH=… 添加文件夹）。'
    ),
    'name "{name}": {file} has no function make(…).': '名字“{name}”：{file} 里没有函数 make(…)。',
    '"{name}" is not in {room}: {alternatives}': '{room} 里没有“{name}”；{alternatives}',
    'config.{key} ({name}): {error}.': 'config.{key}（{name}）：{error}。',
    'config.{key}: {error}': 'config.{key}：{error}',
    '--config={argument}: there is no file {path}.{nearest}': '--config={argument}：没有文件 {path}。{nearest}',
    '--config={argument}: {path} has no function get_config(size).': (
        '--config={argument}：{path} 里没有函数 get_config(size)。'
    ),
    '--config={argument}: {path} has no sizes; --config={path} is all there is.': (
        '--config={argument}：{path} 不分规模，请直接写 --config={path}。'
    ),
    'size "{size}": {alternatives}': '没有“{size}”这个规模；{alternatives}',
    '--config.{key}={text}: {error}': '--config.{key}={text}：{error}',
    '--config.{key}: the config has no such key.{nearest}': '--config.{key}：配置里没有这个键。{nearest}',
    '--config.{key} is a group of keys: {keys}': '--config.{key} 是一组键：{keys}',
    'true or false': '布尔值（true 或 false）',
    'a whole number': '整数',
    'a number': '数字',
    'a tuple such as (1,2)': '元组（例如 (1,2)）',
    '--config.{key}={text}: {wanted} is wanted, as in --config.{key}={old}': (
        '--config.{key}={text}：应为{wanted}，例如 --config.{key}={old}'
    ),
    'config.{key}: the config file sets none; c.{key} = spec("{room}.…") does.': (
        'config.{key}：配置文件没有设置它；请写 c.{key} = spec("{room}.…")。'
    ),
    'config.{key}=None: no flag could change it, since it has no type; for "none" take 0 or "".': (
        'config.{key}=None：None 没有类型，命令行选项无法修改它；要表示“无”，请用 0 或 ""。'
    ),
    'config.{key}={value}: at least {least} is wanted.': 'config.{key}={value}：至少应为 {least}。',
    'config.accumulate={accumulate} does not divide config.batch_size={batch_size}.': (
        'config.accumulate={accumulate} 不能整除 config.batch_size={batch_size}。'
    ),
    'config.average={average}: a decay is at least 0 (no average) and below 1, such as 0.999.': (
        'config.average={average}：衰减率应不小于 0（0 表示不做平均）且小于 1，例如 0.999。'
    ),
    'config.precision.{key}={name}: {alternatives}': 'config.precision.{key}={name}：{alternatives}',
    # --- record, workdir, checkpoint, experiment ---
    '(none)': '（无）',
    'config.json is damaged, and no JSON any more ({error}).': 'config.json 已损坏，不再是合法的 JSON（{error}）。',
    'config.{key} would import code from outside jaxlab, of package "{package}". If you trust it:'
    ' --allow_import={package}': (
        'config.{key} 会从 jaxlab 之外的包“{package}”导入代码。如果您信任它，请加上 --allow_import={package}'
    ),
    '--workdir={workdir}: there is no experiment here (no config.json).': (
        '--workdir={workdir}：这里没有实验（没有 config.json）。'
    ),
    '--workdir={workdir}: this experiment was never trained; run train first.': (
        '--workdir={workdir}：这个实验还没有训练过；请先运行 train。'
    ),
    '{differences}; and {count} more': '{differences}；另有 {count} 处',
    '--workdir={workdir} holds another experiment ({differences}).\nGive another --workdir, or the same settings.': (
        '--workdir={workdir} 里是另一个实验（{differences}）。\n请换一个 --workdir，或改回相同的设置。'
    ),
    'the data have changed since {workdir} was begun (fingerprint {before} → {now}).\n'
    'Give a new --workdir to train on the new data, or bring the old data back.': (
        '自 {workdir} 开始训练以来，数据已经改变（指纹 {before} → {now}）。\n'
        '要用新数据训练，请换一个 --workdir；否则请恢复原来的数据。'
    ),
    '--workdir={workdir}: {error}.': '--workdir={workdir}：{error}。',
    '--split={split}: the data have {splits}.{nearest}': (
        '--split={split}：数据没有这一部分；可选的有 {splits}。{nearest}'
    ),
    'note: these are not the data of the training run (fingerprint {found}, not {trained_on})': (
        '注意：这不是训练时用的数据（指纹是 {found}，而不是 {trained_on}）'
    ),
    'the first {first} of {all} batches of {name}': '{name} 的前 {first} 批（共 {all} 批）',
    'all of {name}': '{name} 的全部',
    '{name}: saving, then ending; once more ends at once': '{name}：保存后结束；再收到一次则立即结束',
}
