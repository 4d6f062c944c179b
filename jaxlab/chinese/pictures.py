"""What is said of models of pictures, and of published weights, in Chinese."""

TABLE: dict[str, str] = {
    # --- models ---
    '{name}={value}: a tuple of whole numbers is wanted, such as (32, 64).': (
        '{name}={value}：应为由整数组成的元组，例如 (32, 64)。'
    ),
    'classes={classes}, and the data have {wanted}; 0 takes what the data have.': (
        'classes={classes}，而数据有 {wanted} 类；0 表示与数据的类别数相同。'
    ),
    'this model sees pictures, [height, width, channels], and an example of these data is of shape {shape}.': (
        '这个模型处理图片（[高，宽，通道]），而这份数据的样本形状是 {shape}。'
    ),
    # --- published weights: names and shapes ---
    '"{source}": these weights are not those of the model.{missing}{over}': (
        '“{source}”：这些权重不属于该模型。{missing}{over}'
    ),
    ' It wants, and they lack: {names}.': '模型需要而权重没有的：{names}。',
    ' They have, and it does not: {names}.': '权重有而模型没有的：{names}。',
    '{names} and {count} more': '{names} 以及另外 {count} 个',
    '"{source}" has {field}={theirs}, and the model {ours}: another architecture.{head}': (
        '“{source}”的 {field}={theirs}，而模型的是 {ours}：两者结构不同。{head}'
    ),
    ' new_head=True leaves their head out.': 'new_head=True 会略去它们的头。',
    '{path}: nothing that is published has such a parameter.': '{path}：已发布的模型中没有这样的参数。',
    '"{source}": {name} has shape {shape}, and the model wants {wanted}: {why}.': (
        '“{source}”：{name} 的形状是 {shape}，而模型需要 {wanted}：{why}。'
    ),
    'other classes; new_head=True leaves theirs out': '类别不同；new_head=True 会略去它们的',
    'another architecture': '结构不同',
    'config.json: {key}={value}, and our ResNet has {wanted}.': (
        'config.json：{key}={value}，而我们的 ResNet 是 {wanted}。'
    ),
    '{field}={value}: the ResNet of transformers has {wanted}, and no other.': (
        '{field}={value}：transformers 的 ResNet 只有 {wanted}。'
    ),
    # --- published weights: files ---
    '"{source}": no such file or folder; hf:owner/name takes published weights from the hub.': (
        '“{source}”：没有这个文件或文件夹；hf:owner/name 可从 hub 获取已发布的权重。'
    ),
    '"{source}": a folder with {whole}, or {index}, or one file of weights is wanted; it has {count}.': (
        '“{source}”：应为含有 {whole}、{index} 或唯一一个权重文件的文件夹；这里有 {count} 个。'
    ),
    '"{source}": hf:owner/name is wanted, such as hf:microsoft/resnet-50.': (
        '“{source}”：应为 hf:owner/name，例如 hf:microsoft/resnet-50。'
    ),
    '"{source}" has no {file}: weights in the format safetensors are wanted.': (
        '“{source}”没有 {file}：需要 safetensors 格式的权重。'
    ),
    '{path} is no index of weights: it has no weight_map of names.': (
        '{path} 不是权重索引：没有由名称组成的 weight_map。'
    ),
    '{path} says that {name} is in {file}, where it is not.': '{path} 说 {name} 在 {file} 中，但那里没有。',
    '{path} names "{name}": a .safetensors file of the same folder is wanted, and nothing else is opened.': (
        '{path} 提到“{name}”：应为同一文件夹中的 .safetensors 文件，其他的一概不打开。'
    ),
    '{path} is missing, which {index} names.': '缺少 {index} 提到的 {path}。',
    '{path} holds no JSON object.': '{path} 里没有 JSON 对象。',
    '{path} cannot be read, or is damaged ({error}); fetch it again.': (
        '{path} 无法读取，或已损坏（{error}）；请重新获取。'
    ),
    '{path} asks for "{name}", which tensors do not need: it was not read, and nothing of it was run.': (
        '{path} 要求“{name}”，而张量并不需要它：没有读取，也没有运行其中任何内容。'
    ),
    '{path} holds no tensors by name.': '{path} 里没有带名称的张量。',
    # --- what published models do to pictures ---
    'preprocessor_config.json: size={size}: a height and a width are wanted.': (
        'preprocessor_config.json：size={size}：应有高和宽。'
    ),
    'preprocessor_config.json: pixels times {scale}: only 1/255 is known.': (
        'preprocessor_config.json：像素乘以 {scale}：只支持 1/255。'
    ),
    'preprocessor_config.json: resample={value}: 0 to 5 are known.': (
        'preprocessor_config.json：resample={value}：只支持 0 到 5。'
    ),
}
