"""What is said of certificates of weights, and of where two computations part, in Chinese."""

TABLE: dict[str, str] = {
    # --- certify ---
    'Write down what every layer of a model makes of fixed inputs, so that whoever imports the weights can compare.': (
        '记录模型每一层对固定输入的输出，使导入权重的人可以对照。'
    ),
    'a folder with weights and their config.json, or an experiment': '含有权重及其 config.json 的文件夹，或一个实验',
    'of our own model, not of the original': '用我们自己的模型，而不是原版模型',
    'of the inputs (default 0)': '输入的随机种子（默认 0）',
    'height and width of pictures; default: as published': '图片的高和宽；默认与发布时相同',
    'the file to write; default: beside the weights': '要写入的文件；默认放在权重旁边',
    '--seed={seed} --size={size}: at least 0 is wanted.': '--seed={seed} --size={size}：至少应为 0。',
    '{file}: {count} layers, by {made_by}': '{file}：{count} 层，由 {made_by} 生成',
    'our model agrees within {off:.1e}': '我们的模型与之一致，误差在 {off:.1e} 以内',
    'certify {source}: the original is made of a folder; --ours needs none.': (
        'certify {source}：原版模型要从文件夹建立；--ours 则不需要。'
    ),
    'a certificate has no fixed input of name {name}.': '证书没有名为 {name} 的固定输入。',
    '"{source}": its certificate is of a model that takes {theirs}, and this one takes {ours}.': (
        '"{source}"：证书所属的模型接收 {theirs}，而这个模型接收 {ours}。'
    ),
    '"{source}" does not agree with its certificate ({made_by}): the first layer that departs is {layer}, whose output'
    ' has a root mean square of {size:.7g}, not {wanted:.7g}.': (
        '"{source}" 与证书（{made_by}）不一致：第一个不同的层是 {layer}，'
        '其输出的均方根是 {size:.7g}，而不是 {wanted:.7g}。'
    ),
    '"{source}" does not agree with its certificate ({made_by}): all layers do, and the logits depart by {off:.2g} of'
    ' the largest.': '"{source}" 与证书（{made_by}）不一致：各层都一致，但 logits 相差最大值的 {off:.2g}。',
    'config.certificate={file}: there is no such file.': 'config.certificate={file}：没有这个文件。',
    '{file} is damaged ({why}): it is no certificate. Remove it, or certify anew.': (
        '{file} 已损坏（{why}）：它不是证书。请删除它，或重新运行 certify。'
    ),
    '{source} agrees with its certificate ({made_by}) within {off:.1e}': (
        '{source} 与证书（{made_by}）一致，误差在 {off:.1e} 以内'
    ),
    '"{source}": nothing says what model these weights are of: their names are of none that we know, or there is no'
    ' config.json beside them.': (
        '"{source}"：无从得知这些权重属于哪个模型：名称不属于我们所知的任何模型，或旁边没有 config.json。'
    ),
    # --- the original ---
    'the original runs on torch, which is not here ({error}): bash launch/setup.sh --extras=reference installs it, and'
    ' --ours does without it.': (
        '原版模型需要 torch，而这里没有（{error}）：'
        'bash launch/setup.sh --extras=reference 可安装它，--ours 则不需要它。'
    ),
    '"{folder}": config.json names the architecture "{name}", which transformers {version} has not.': (
        '"{folder}"：config.json 指定的架构 "{name}" 在 transformers {version} 中不存在。'
    ),
    '"{folder}": transformers {version} cannot make the original ({error}).': (
        '"{folder}"：transformers {version} 无法建立原版模型（{error}）。'
    ),
    # --- diff ---
    'Say where two computations part: the first tensor, layer by layer forwards, then backwards, in 64 bits.': (
        '指出两个计算从哪里开始不同：以 64 位精度逐层向前、再向后比较，找出第一个不同的张量。'
    ),
    'an experiment, a config file, or a folder of published weights; @tensor=2 lays it over a mesh': (
        '一个实验、一个配置文件或一个已发布权重的文件夹；@tensor=2 将它放到网格上'
    ),
    'what it is compared with': '与之比较的对象',
    'by how much of its largest number a tensor may depart (default 1e-9)': (
        '张量允许的偏差，占其最大数值的比例（默认 1e-9）'
    ),
    '--tolerance={tolerance}: at least 0 and below 1 is wanted, such as 1e-9.': (
        '--tolerance={tolerance}：应至少为 0 且小于 1，例如 1e-9。'
    ),
    '"{text}": an experiment, a config file or a folder of weights is wanted.': (
        '"{text}"：应为一个实验、一个配置文件或一个权重文件夹。'
    ),
    '"{text}": a mesh is wanted after @, such as {name}@tensor=2,data=4.': (
        '"{text}"：@ 之后应为网格，例如 {name}@tensor=2,data=4。'
    ),
    'two published models: one of the two sides must be ours, an experiment or a config.': (
        '两边都是已发布的模型：其中一边必须是我们的，即一个实验或一个配置。'
    ),
    'only the first side has it': '只有第一边有它',
    'only the second side has it': '只有第二边有它',
    'of shape {one}, and of {other}': '形状分别为 {one} 和 {other}',
    'by {off:.1e} of its largest number': '相差其最大数值的 {off:.1e}',
    'the batch': '批次',
    'forwards': '前向',
    'gradients': '梯度',
    'compared': '比较数',
    'largest difference': '最大差异',
    'first that departs': '第一个不同的张量',
    'They agree: {count} tensors, each within {off:.0e} of its largest number.': (
        '两者一致：{count} 个张量，各自的差异都在其最大数值的 {off:.0e} 以内。'
    ),
    'They part at "{name}" of their first batch ({how}): what follows is computed of that of the first.': (
        '两者从第一个批次的 "{name}" 开始不同（{how}）；其后的计算都使用第一边的批次。'
    ),
    'They part at the output of {name} ({how}).': '两者从 {name} 的输出开始不同（{how}）。',
    'They agree forwards, and part at the gradient of {name} ({how}).': (
        '两者前向一致，从 {name} 的梯度开始不同（{how}）。'
    ),
}
