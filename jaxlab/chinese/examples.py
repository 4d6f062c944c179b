"""What is said of pictures and tables, and of what is learned from them, in Chinese."""

TABLE: dict[str, str] = {
    # --- data ---
    '{record} has the shape {shape}, and {wanted} is wanted.': '{record} 的形状是 {shape}，需要的是 {wanted}。',
    'example {number}': '第 {number} 个样本',
    '{source} has no part "train" to learn from; it has {parts}.': (
        '{source} 没有可供学习的“train”部分；它有 {parts}。'
    ),
    '{source}: its part "{part}" is empty.': '{source}：“{part}”部分是空的。',
    '{name}: {counts} examples of shape {shape}; fingerprint {fingerprint}': (
        '{name}：样本数 {counts}，形状 {shape}；指纹 {fingerprint}'
    ),
    '{record} has the target {target}, which is no number.': '{record} 的目标是 {target}，这不是数。',
    '{record} has the class {target}, and there are classes 0 to {last}.': (
        '{record} 的类别是 {target}，而类别只有 0 到 {last}。'
    ),
    '{source} has numbers and no classes: data.table reads it.': (
        '{source} 的目标是数而不是类别：请用 data.table 读取。'
    ),
    '{source} has no pictures: data.table reads it.': '{source} 里没有图片：请用 data.table 读取。',
    'config.data.processor.name={name} is for {reads}, and these data are {wanted}.': (
        'config.data.processor.name={name} 用于{reads}，而这些数据是{wanted}。'
    ),
    'texts': '文本',
    'pictures': '图片',
    'tables': '表格',
    '{source} is no table: data.pictures reads it.': '{source} 不是表格：请用 data.pictures 读取。',
    '{record} could not be decoded: {problem}': '{record} 无法解码：{problem}',
    '{source} has pictures of {channels} channels; 1 (grey) or 3 (red, green, blue) are wanted.': (
        '{source} 的图片有 {channels} 个通道；需要 1 个（灰度）或 3 个（红、绿、蓝）。'
    ),
    'decoding {count:,} pictures, once': '正在解码 {count:,} 张图片，只需这一次',
    'a row of {columns} numbers is wanted, and {raw} came.': '需要一行 {columns} 个数，得到的是 {raw}。',
    # --- models and tasks ---
    'the targets of these data are numbers, not classes: config.task.name=regression fits them.': (
        '这些数据的目标是数，不是类别：适合它们的是 config.task.name=regression。'
    ),
    'the targets of these data are classes, not numbers: config.task.name=classification fits them.': (
        '这些数据的目标是类别，不是数：适合它们的是 config.task.name=classification。'
    ),
    '{name}={value}: one of {choices} is wanted.': '{name}={value}：需要 {choices} 之一。',
    'class_weights=balanced: how often each class is there is not known of these data.': (
        'class_weights=balanced：这些数据中各类别出现的次数是未知的。'
    ),
    'config.init_from={source}: nothing says how published weights fit config.model.name={name}.': (
        'config.init_from={source}：没有说明已发布的权重如何对应 config.model.name={name}。'
    ),
    # --- predict ---
    'Say what a trained experiment makes of pictures, texts, or rows of a table.': (
        '说出训练好的实验如何看待图片、文本或表格的行。'
    ),
    'files of pictures, folders of them, texts, or rows of a table as 1.5,2,…': (
        '图片文件、图片文件夹、文本，或形如 1.5,2,… 的表格行'
    ),
    'a file with one of them a line (-: what is piped in); two texts have a tab between them': (
        '一个文件，每行一个（-：来自管道）；两个文本之间用制表符分开'
    ),
    'say what to look at: files, texts or rows, or a file of such lines: --lines=FILE.': (
        '请说明要看什么：文件、文本或表格行，或每行一个的文件：--lines=FILE。'
    ),
    'note: {cut:,} of {count:,} texts are longer than {length} tokens: their ends are not read': (
        '注意：{count:,} 个文本中有 {cut:,} 个超过 {length} 个词元：超出的部分不读'
    ),
    '--lines={file} cannot be read ({error}).': '--lines={file} 无法读取（{error}）。',
    'how many classes to name (default 1)': '说出几个类别（默认 1）',
    '--top={top}: at least 1 is wanted.': '--top={top}：至少是 1。',
    '--workdir={workdir}: this experiment writes text; generate does that.': (
        '--workdir={workdir}：这个实验生成文本；请用 generate。'
    ),
    '"{folder}" holds no files.': '“{folder}”里没有文件。',
}
