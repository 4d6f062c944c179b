"""What is said of models, tasks, optimizers and meshes, in Chinese."""

TABLE: dict[str, str] = {
    # --- what fits what ---
    'config.model: {model} takes {names}, and a batch of these data has {there}: it is a model of other data.': (
        'config.model：{model} 需要 {names}，而这些数据的批次有 {there}：它是为别的数据准备的模型。'
    ),
    'config.task.name={task} wants a model with {names}, and {model} has none.': (
        'config.task.name={task} 需要具有 {names} 的模型，而 {model} 没有。'
    ),
    'these data do not say "{key}", and say {known}: this part is one of other data.': (
        '这些数据没有说明“{key}”，只说明了 {known}：这个部分是为别的数据准备的。'
    ),
    'this model reads texts, and these data are none: data.text reads such.': (
        '这个模型读文本，而这些数据不是文本；data.text 读取文本。'
    ),
    'this task learns texts, and these data are none: data.text reads such.': (
        '这个任务学习文本，而这些数据不是文本；data.text 读取文本。'
    ),
    # --- determinism ---
    'config.deterministic=true, and XLA_FLAGS says {flag}: take one of them away.': (
        'config.deterministic=true，而 XLA_FLAGS 中有 {flag}：请去掉其中之一。'
    ),
    'config.deterministic=true comes too late: JAX has started its devices in this process. Start anew with'
    ' XLA_FLAGS="{flags}".': (
        'config.deterministic=true 设得太晚：JAX 在这个进程里已经启动了设备。请用 XLA_FLAGS="{flags}" 重新启动。'
    ),
    # --- pmap ---
    (
        'config.compile=pmap copies a model to every device, and config.mesh.{axis}={size} splits it: take'
        ' config.mesh.data, or config.compile=jit.'
    ): (
        'config.compile=pmap 把模型复制到每个设备，而 config.mesh.{axis}={size} 会切分它：'
        '请使用 config.mesh.data，或 config.compile=jit。'
    ),
    (
        'config.compile=pmap is for one process here, and these are {processes}: config.compile=jit trains with any'
        ' number.'
    ): (
        '这里的 config.compile=pmap 只用于一个进程，而现在有 {processes} 个：'
        'config.compile=jit 可以用任意多个进程训练。'
    ),
    'config.compile=pmap is for tasks of one phase, and this one has {losses}: config.compile=jit trains it.': (
        'config.compile=pmap 用于只有一个阶段的任务，而这个任务有 {losses}：请用 config.compile=jit 训练它。'
    ),
    (
        'config.compile=pmap: this model carries statistics of whole batches, and here each device sees its own'
        ' rows alone: config.compile=jit trains it.'
    ): (
        'config.compile=pmap：这个模型带有整个批次的统计量，而这里每个设备只看到自己的行：'
        '请用 config.compile=jit 训练它。'
    ),
    # --- models, tasks ---
    '{name}={value}: {alternatives}': '{name}={value}：{alternatives}',
    '{name}={value}: at least {least} is wanted.': '{name}={value}：至少应为 {least}。',
    '{name}={value}: more than 0 is wanted.': '{name}={value}：应大于 0。',
    '{name}={value}: at least 0 and below 1 is wanted, such as 0.1.': '{name}={value}：应不小于 0 且小于 1，例如 0.1。',
    'heads={heads} do not divide width={width}; {near} would.': 'heads={heads} 不能整除 width={width}；{near} 可以。',
    'kv_heads={kv_heads} do not divide heads={heads}; {near} would.': (
        'kv_heads={kv_heads} 不能整除 heads={heads}；{near} 可以。'
    ),
    'positions=rotary turn pairs, and width / heads = {size} is odd; change one of them.': (
        'positions=rotary 要把各维两两配对来旋转，而 width / heads = {size} 是奇数；请改其中一个。'
    ),
    'step {step}: in the batches of {count} steps in a row nothing counted (all of mask is 0), the last good update'
    ' was that of step {good}. Look at the data: `doctor` says what is in them.': (
        '第 {step} 步：连续 {count} 步的批次中没有任何计入的内容（mask 全为 0），最后一次有效的更新是第 {good} 步。'
        '请检查数据：`doctor` 会说明其中有什么。'
    ),
    (
        'step {step}: {count} updates in a row were left out (loss {loss:.4g}, gradient norm {norm:.4g}), the last'
        ' good one was that of step {good}. Lower config.optimizer.learning_rate, or let the run go back and on with'
        ' other data: config.numbers.rollbacks=3.'
    ): (
        '第 {step} 步：连续 {count} 次更新被跳过（损失 {loss:.4g}，梯度范数 {norm:.4g}），'
        '最后一次正常的更新在第 {good} 步。'
        '请调低 config.optimizer.learning_rate，或允许训练退回去并换用后面的数据：config.numbers.rollbacks=3。'
    ),
    'attention={name}: {why}; auto takes what there is.': 'attention={name}：{why}；auto 会选用现有的实现。',
    'it is for NVIDIA GPUs, and this is: {device}': '它只用于 NVIDIA GPU，而这里是：{device}',
    'it computes in bfloat16, and this is {dtype}': '它以 bfloat16 计算，而这里是 {dtype}',
    'heads are multiples of 8 wide, up to 128, and these are {width}': (
        '每个头的宽度须为 8 的倍数且不超过 128，而这里是 {width}'
    ),
    'vocabulary={vocabulary}, and the data have {wanted}; 0 takes what the data have.': (
        'vocabulary={vocabulary}，而数据的词表大小是 {wanted}；0 表示与数据相同。'
    ),
    'context={context}, and rows of data have {length} tokens; 0 takes what the data have.': (
        'context={context}，而数据每行有 {length} 个词元；0 表示与数据相同。'
    ),
    '{count} tokens in a row, and positions for context={context}: shorten the row.': (
        '一行有 {count} 个词元，而位置只到 context={context}：请缩短这一行。'
    ),
    'the prompt takes {wanted} tokens, and the model looks back on {context}.': (
        '提示词有 {wanted} 个词元，而模型的上下文只有 {context} 个。'
    ),
    'the prompt and {count} tokens after it take {wanted} tokens, and the model looks back on {context}.': (
        '提示词和其后的 {count} 个词元一共 {wanted} 个，而模型的上下文只有 {context} 个。'
    ),
    'the prompt is not UTF-8: its character {number} is broken.': '提示词不是 UTF-8 编码：第 {number} 个字符已损坏。',
    'The prompt is empty: give at least one token, such as end-of-text, after which texts begin.': (
        '提示词是空的：至少要给出一个词元，例如文本结束符，文本都从它之后开始。'
    ),
    'The prompt has {count} tokens, and the model looks back on {context}: shorten the prompt.': (
        '提示词有 {count} 个词元，而模型的上下文只有 {context} 个：请缩短提示词。'
    ),
    'temperature={temperature}: 0 (always the likeliest token) or more is wanted, such as 0.8.': (
        'temperature={temperature}：应不小于 0（0 表示总取最可能的词元），例如 0.8。'
    ),
    'top_k={top_k}: 0 (all tokens) or more is wanted, such as 50.': (
        'top_k={top_k}：应不小于 0（0 表示全部词元），例如 50。'
    ),
    'top_p={top_p}: more than 0 and at most 1 (all tokens) is wanted, such as 0.95.': (
        'top_p={top_p}：应大于 0 且不大于 1（1 表示全部词元），例如 0.95。'
    ),
    # --- optim, schedules, parameter_groups ---
    '{name}={value}: a number above 0 is wanted.': '{name}={value}：应为大于 0 的数。',
    '{name}={value}: a number from 0 up is wanted.': '{name}={value}：应为不小于 0 的数。',
    '{name}={value}: a decay is at least 0 and below 1.': '{name}={value}：衰减率应不小于 0 且小于 1。',
    'epsilon={epsilon}: more than 0 is wanted, or what never had a gradient becomes 0 / 0.': (
        'epsilon={epsilon}：应大于 0，否则从未有过梯度的参数会算成 0 / 0。'
    ),
    '{name}={value}: a factor between 0 and 1 is wanted.': '{name}={value}：应为 0 到 1 之间的系数。',
    'at={at}: parts of the way, between 0 and 1, are wanted, such as (0.5, 0.75).': (
        'at={at}：应为 0 到 1 之间的训练进度，例如 (0.5, 0.75)。'
    ),
    'final=0: an exponential never gets there; take more than 0, such as 0.01.': (
        'final=0：指数衰减永远到不了 0；请取大于 0 的数，例如 0.01。'
    ),
    'decay={decay}: a part of the way, above 0 and up to 1, is wanted.': (
        'decay={decay}：应为占全程的比例，大于 0 且不大于 1。'
    ),
    'warmup={warmup}: a number of steps is wanted, or 0 for none.': 'warmup={warmup}：应为步数，0 表示不预热。',
    "horizon={horizon}: a step number is wanted, or 0 for the run's last step.": (
        'horizon={horizon}：应为某一步的编号，0 表示训练的最后一步。'
    ),
    "groups: {group!r} is no pair such as in (('stack/', {{'frozen': True}}),).": (
        "groups：{group!r} 不是“模式、设置”这样的一对；正确的写法如 (('stack/', {{'frozen': True}}),)。"
    ),
    'groups: "{pattern}": no override "{key}"; they are {keys}.{nearest}': (
        'groups：“{pattern}”：“{key}”不是可覆盖的设置；可选的有 {keys}。{nearest}'
    ),
    'groups: "{pattern}": {key}={value!r}: {wanted} is wanted.': 'groups：“{pattern}”：{key}={value!r}：应为{wanted}。',
    'True or False': '布尔值（True 或 False）',
    'groups: "{pattern}": {error}': 'groups：“{pattern}”：{error}',
    'groups: "{pattern}": no regular expression ({error}).': 'groups：“{pattern}”不是正则表达式（{error}）。',
    'groups: "{pattern}": no parameter\'s name begins so; the nearest: {names}.': (
        'groups：“{pattern}”：没有参数的名字这样开头；最接近的是 {names}。'
    ),
    'groups: every parameter is frozen, and nothing is left to train.': 'groups：所有参数都冻结了，没有可训练的。',
    # --- parallel ---
    'config.mesh.{axis}: there is no such mesh axis; they are {axes}.': (
        'config.mesh.{axis}：没有这个网格轴；可选的有 {axes}。'
    ),
    'config.mesh.{axis}={size}: a mesh axis has at least 1 device (or -1: all that are left).': (
        'config.mesh.{axis}={size}：网格轴至少有 1 个设备（或 -1：其余的所有设备）。'
    ),
    'config.mesh: {one} and {other} are both -1; only one axis can take all devices that are left.': (
        'config.mesh：{one} 和 {other} 都是 -1；只有一个轴能占用其余的所有设备。'
    ),
    'config.mesh: {mesh} wants {wanted} devices, and JAX sees {seen} ({platform}). Make the axes smaller; to try a'
    ' mesh without the machines: XLA_FLAGS=--xla_force_host_platform_device_count={wanted}': (
        'config.mesh：{mesh} 需要 {wanted} 个设备，而 JAX 只看到 {seen} 个（{platform}）。请把轴改小；'
        '设备不够也想试试这个网格，可用 XLA_FLAGS=--xla_force_host_platform_device_count={wanted}'
    ),
    'config.mesh: {axis}=-1 cannot share out {count} devices, since {mesh} does not divide them.': (
        'config.mesh：{axis}=-1 无法分配 {count} 个设备，因为 {mesh} 不能整除设备数。'
    ),
    '{of}: axis name "{name}" is not in the table of jaxlab/parallel/layout.py.{nearest}': (
        '{of}：轴名“{name}”不在 jaxlab/parallel/layout.py 的表里。{nearest}'
    ),
    '{of}: axis names "{one}" and "{other}" are both split over mesh axis "{axis}".': (
        '{of}：轴“{one}”和“{other}”都要沿网格轴“{axis}”切分。'
    ),
    '{of}: axis "{name}" of size {size} cannot be split over mesh axis {where} of size {split}. Choose a mesh size'
    ' that divides {size}, or a size that {split} divides.': (
        '{of}：轴“{name}”的大小是 {size}，无法沿大小为 {split} 的网格轴 {where} 切分。请选一个能整除 {size}'
        ' 的网格大小，或一个能被 {split} 整除的轴大小。'
    ),
    ' in {count} micro-batches': '（分成 {count} 个微批）',
    'config.batch_size={size}{cut} cannot be split over {shards} devices (mesh {axes}); the nearest that can:'
    ' {near}.': (
        'config.batch_size={size}{cut}：无法平分到 {shards} 个设备上（网格 {axes}）；可行的最接近的值是 {near}。'
    ),
    'config.mesh.{axis}={size}: nothing in this model is split over mesh axis "{axis}", so {idle} of every {size}'
    ' devices would repeat the work of the first. Set config.mesh.{axis}=1 and config.mesh.data={size}.': (
        'config.mesh.{axis}={size}：这个模型里没有任何数组沿网格轴“{axis}”切分，每 {size} 个设备里就有 {idle}'
        ' 个在重复第一个的工作。请设 config.mesh.{axis}=1 和 config.mesh.data={size}。'
    ),
    'config.mesh.context={size}: rows of {length} tokens cannot be shared out evenly over mesh axis "context". Choose a'
    ' length that {multiple} divides, such as {near}, or another size of the mesh axis.': (
        'config.mesh.context={size}：长度为 {length} 个词元的行无法沿网格轴“context”平均切分。请选一个能被 {multiple}'
        ' 整除的长度，例如 {near}，或换一个网格轴大小。'
    ),
    'attention={name}: rows that mesh axis "context" splits go around a ring of devices, in blocks of our own; auto'
    ' takes what there is.': (
        'attention={name}：沿网格轴“context”切分的行在设备环上用我们自己的分块计算；请设为 auto，它会选用可用的实现。'
    ),
    'where heads look is told of whole rows, and config.mesh.context splits them: set it to 1.': (
        '注意力权重只能对完整的行给出，而 config.mesh.context 会切分行：请把它设为 1。'
    ),
    '{used} of {seen} × {kind}': '{used} × {kind}（共 {seen} 个）',
}
