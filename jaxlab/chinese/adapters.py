"""What is said of adapters, and of the weights that they stand beside, in Chinese."""

TABLE: dict[str, str] = {
    'config.adapters: {names} are not among the weights at {source}, and adapters stand beside what is there.': (
        'config.adapters：{source} 的权重中没有 {names}，而适配器只能加在已有的权重旁。'
    ),
    'config.adapters.rank={rank}: adapters learn beside weights that stay as they are, and config.init_from names none:'
    ' a workdir, a folder or file of weights, or hf:owner/name.': (
        'config.adapters.rank={rank}：适配器在保持不变的权重旁边学习，而 config.init_from 没有指明这些权重：'
        '应为工作目录、权重文件夹或文件，或 hf:owner/name。'
    ),
    'config.adapters.alpha={alpha}: more than 0 is wanted, such as 16.': (
        'config.adapters.alpha={alpha}：应大于 0，例如 16。'
    ),
    'config.adapters.dropout={dropout}: at least 0 and below 1 is wanted, such as 0.1.': (
        'config.adapters.dropout={dropout}：应不小于 0 且小于 1，例如 0.1。'
    ),
    'config.adapters.dropout: {name} is no plain matrix product (it slides over its input, changes before it is'
    ' used, or is one of several experts), and its adapter has no input of its own: 0 is wanted, or'
    ' config.adapters.patterns without it.': (
        'config.adapters.dropout：{name} 不是普通的矩阵乘法（它在输入上滑动，或在使用前会改变，或是多个专家之一），'
        '其适配器没有自己的输入：应设为 0，或让 config.adapters.patterns 不包含它。'
    ),
    'config.adapters.patterns=(): with config.adapters.rank=0 nothing has an adapter.': (
        'config.adapters.patterns=()：要让任何参数都没有适配器，应设 config.adapters.rank=0。'
    ),
    'config.adapters.patterns: "{pattern}": no regular expression ({error}).': (
        'config.adapters.patterns："{pattern}" 不是正则表达式（{error}）。'
    ),
    'config.adapters.patterns: "{pattern}" matches no matrix or table with sides longer than rank={rank}; there are'
    ' {names}.': ('config.adapters.patterns："{pattern}" 没有匹配任何边长大于 rank={rank} 的矩阵或表；现有 {names}。'),
    'config.adapters: the weights that they stand beside cannot be read. {error}': (
        'config.adapters：无法读取适配器所依附的权重。{error}'
    ),
    'config.init_from={source} goes round in a circle.': 'config.init_from={source} 形成了循环。',
    '{file} is missing or damaged ({error}): it says what weights the adapters stand beside.\nBring it back from a'
    ' copy, or give another --workdir to start anew.': (
        '{file} 缺失或已损坏（{error}）：它记录了适配器所依附的权重。'
        '\n请从备份中恢复它，或指定另一个 --workdir 重新开始。'
    ),
    'config.init_from={source}: its weights are not those that the adapters of {workdir} stand beside ({name} and'
    ' {count} more of {all} differ).\nBring the old weights back, or give another --workdir to start anew.': (
        'config.init_from={source}：其中的权重不是 {workdir} 的适配器所依附的权重'
        '（{all} 个参数中 {name} 和另外 {count} 个不同）。\n请恢复原来的权重，或指定另一个 --workdir 重新开始。'
    ),
    'frozen': '冻结',
    '{count:,} of {source}; beside them learn adapters of rank {rank}': (
        '{source} 的 {count:,} 个参数；秩为 {rank} 的适配器在其旁边学习'
    ),
}
