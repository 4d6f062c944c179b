"""What is said of a run before it runs, in Chinese."""

TABLE: dict[str, str] = {
    'Say what a run will take, in memory, time and chips, before it runs.': (
        '在训练之前，说明它需要多少内存、时间和芯片。'
    ),
    'TPUs to compile for, such as v5e:16x16; none need be here (default: the devices of this machine)': (
        '为哪种 TPU 编译，例如 v5e:16x16；本机不必有 TPU（默认：本机的设备）'
    ),
    'a budget of training tokens, or rows where they are no texts (default: those of config.steps)': (
        '训练词元的总预算；数据不是文本时为行数（默认：config.steps 所用的数量）'
    ),
    'with --topology: make machine code as well, which takes ten times as long, and count its bytes': (
        '与 --topology 一起使用：同时生成机器码（耗时约十倍），并计入其字节数'
    ),
    '--tokens={count}: at least 0 is wanted.': '--tokens={count}：至少应为 0。',
    '--topology={name}: the compiler for TPUs is missing. To install it (137 MB): pip install -e ".[plan]"': (
        '--topology={name}：缺少 TPU 的编译器。安装方法（137 MB）：pip install -e ".[plan]"'
    ),
    '--topology={name}: libtpu knows no such topology ({error}). It is named by generation and chips along each dim,'
    ' such as {examples}.': (
        '--topology={name}：libtpu 没有这种拓扑（{error}）。名称由代次和各维的芯片数组成，例如 {examples}。'
    ),
    'XLA does not compile it for {topology}: {reason}': 'XLA 无法为 {topology} 编译：{reason}',
    '{count} × {kind}, mesh {mesh}': '{count} × {kind}，网格 {mesh}',
    'parameters {count:,}': '参数 {count:,}',
    'memory of each chip: state {state}, batch {batch}, temporaries {temporaries}, other {other}: {taken}': (
        '每块芯片的内存：状态 {state}，批次 {batch}，临时数组 {temporaries}，其他 {other}：共 {taken}'
    ),
    'how much there is is not known': '不知道共有多少内存',
    'it fits into {limit}': '放得进 {limit}',
    'it does NOT fit into {limit}': '放不进 {limit}',
    'largest arrays:': '最大的数组：',
    'FLOPs of a step: the model asks for {model:.4g}; the program computes {program:.4g} ({times:.2f} times)': (
        '每步的 FLOP：模型需要 {model:.4g}；程序计算 {program:.4g}（{times:.2f} 倍）'
    ),
    'not in it: {kernels}': '未计入：{kernels}',
    'each chip sends in a step:': '每块芯片每步发送：',
    'how fast such devices are is not known: no time is predicted': '不知道这种设备有多快：不预测时间',
    'if one thing alone took time: products {compute:.4g} s, memory {memory:.4g} s, links {links:.4g} s': (
        '若只有一项耗时：矩阵乘法 {compute:.4g} 秒，内存 {memory:.4g} 秒，链路 {links:.4g} 秒'
    ),
    'expected: a step in {step:.4g} s, MFU {mfu:.1%}, {rate:,.0f} tokens/s': (
        '预计：每步 {step:.4g} 秒，MFU {mfu:.1%}，每秒 {rate:,.0f} 个词元'
    ),
    '{tokens:.4g} tokens are {steps:,.0f} steps: {days:,.3g} days, {chip_hours:,.4g} chip-hours': (
        '{tokens:.4g} 个词元需 {steps:,.0f} 步：{days:,.3g} 天，{chip_hours:,.4g} 芯片小时'
    ),
    'it is for text that is read from left to right': '它只用于从左到右阅读的文本',
    'it is for TPUs, and this is: {device}': '它只用于 TPU，而这里是：{device}',
    'it computes in bfloat16 or float32, and this is {dtype}': '它以 bfloat16 或 float32 计算，而这里是 {dtype}',
    'heads are multiples of 64 wide, and these are {width}': '每个头的宽度须为 64 的倍数，而这里是 {width}',
}
