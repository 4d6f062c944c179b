"""What is said of a data set that is examined, in Chinese."""

TABLE: dict[str, str] = {
    # --- findings ---
    'there is no part "train"': '没有训练部分“train”',
    '{part}: there are no examples': '{part}：没有样本',
    '{part}: examples that cannot be read: {count:,} ({reasons})': '{part}：{count:,} 个样本无法读取（{reasons}）',
    '{part}: inputs that are neither pictures [height, width, 1 or 3] nor rows of a table [columns]: {count:,}'
    ' ({shapes})': ('{part}：{count:,} 个输入既不是图片 [高，宽，1 或 3]，也不是表格的行 [列]（{shapes}）'),
    'inputs are of several kinds: {kinds}': '输入有几种不同的类型：{kinds}',
    '{part}: inputs are {dtypes}, from {low:.4g} to {high:.4g}; {wanted} is wanted': (
        '{part}：输入是 {dtypes}，从 {low:.4g} 到 {high:.4g}；应为 {wanted}'
    ),
    'are not finite': '含有非有限的数值',
    'are of one colour ({black:,} are black)': '只有一种颜色（其中 {black:,} 个全黑）',
    '{part}: columns that never change: {columns}': '{part}：从不变化的列：{columns}',
    'have a target other than 0 to {last}, as {targets}': '的目标不在 0 到 {last} 之间，例如 {targets}',
    'have a target that is no number': '的目标不是数',
    '{part}: all targets are {target}': '{part}：所有目标都是 {target}',
    '{part}: classes without examples: {count:,} ({labels})': '{part}：有 {count:,} 个类别没有样本（{labels}）',
    '{part}: of "{most}" there are {ratio:.1f} times as many as of "{least}" ({count:,} and {few:,})': (
        '{part}：“{most}”的样本数是“{least}”的 {ratio:.1f} 倍（{count:,} 与 {few:,}）'
    ),
    'examples of {part} that are in {other} as well: {count:,} ({pairs})': (
        '{part} 有 {count:,} 个样本也在 {other} 中（{pairs}）'
    ),
    'the same inputs with two targets: {count:,} ({pairs})': '相同的输入对应不同的目标：{count:,} 次（{pairs}）',
    '{part}: examples that are there already: {count:,} ({pairs})': '{part}：{count:,} 个样本与之前的重复（{pairs}）',
    '{part}: examples lie in the order of their targets (batches are shuffled)': (
        '{part}：样本按目标的顺序排列（批次会被打乱）'
    ),
    '{part}: examples that {what}: {count:,} ({which})': '{part}：{count:,} 个样本{what}（{which}）',
    # --- the verb ---
    'Look for what is wrong with a data set before anybody trains on it.': '在训练之前检查数据集有什么问题。',
    'the experiment whose data are looked at': '要检查其数据的实验',
    'where sheets of pictures are written (default doctor); "": none are': (
        '图片一览写到哪个文件夹（默认 doctor）；""：不写'
    ),
    'look at so many examples of each part, evenly spread; 0: at all (default)': (
        '每个部分均匀地检查这么多个样本；0：全部（默认）'
    ),
    '--most={count}: at least 0 is wanted.': '--most={count}：不能小于 0。',
    'doctor looks at pictures, tables and texts with classes, and config.data.name={name} is none of these.': (
        'doctor 检查图片、表格和带类别的文本，而 config.data.name={name} 都不是。'
    ),
    '--folder={folder}: nothing can be written there ({error}).': '--folder={folder}：无法写入（{error}）。',
    '{name}; fingerprint {fingerprint}': '{name}；指纹 {fingerprint}',
    '{part}: {count:,} examples': '{part}：{count:,} 个样本',
    ', of which {count:,} were looked at': '，检查了其中 {count:,} 个',
    'inputs {shapes}{more} of {dtypes}, values {low:.4g} to {high:.4g}': (
        '输入 {shapes}{more}，类型 {dtypes}，数值 {low:.4g} 到 {high:.4g}'
    ),
    '{classes:,} classes, {least:,} ("{rarest}") to {most:,} ("{commonest}") examples each': (
        '{classes:,} 个类别，每类 {least:,}（“{rarest}”）到 {most:,}（“{commonest}”）个样本'
    ),
    'targets {low:.4g} to {high:.4g}': '目标 {low:.4g} 到 {high:.4g}',
    'wrong: {message}': '问题：{message}',
    'note: {message}': '注意：{message}',
    'nothing is wrong': '没有问题',
    'pictures of each class: {sheets}': '各类的图片：{sheets}',
}
