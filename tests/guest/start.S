/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a payload guest begins: the PVH entry (32-bit, no paging, ebx = start
 * info), to 64-bit mode with the first 4 GiB mapped one to one, to
 * guest_main(). Page tables and GDT are data, so that a KVM that interprets
 * what it runs has little to do. Other processors, woken by guest_start_cpu one
 * at a time, come through the trampoline at SMP_TRAMPOLINE.
 */
	.section .note.Xen, "a", @note
	.long 4, 4, 18		/* name size, descriptor size, PHYS32_ENTRY */
	.asciz "Xen"
	.long start

	.text
	.code32
	.globl start
start:
	cli
	movl %ebx, start_info
	movl $boot_stack_end, %esp
enter_long_mode:
	movl $pml4, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $0x20, %eax		/* PAE */
	movl %eax, %cr4
	movl $0xc0000080, %ecx	/* EFER */
	rdmsr
	orl $0x100, %eax	/* LME */
	wrmsr
	movl %cr0, %eax
	orl $0x80000001, %eax	/* PG, PE */
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmp $0x08, $long_mode

	.code64
long_mode:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	lidt idt_pointer
	movl %esp, %esp
	cmpl $boot_stack_end, %esp
	jne other_cpu
	xorl %ebp, %ebp
	call guest_main
halt:
	cli
	hlt
	jmp halt

other_cpu:
	xorl %ebp, %ebp
	call guest_cpu_arrived
	jmp halt

/*
 * Another processor: 16-bit code, copied below 1 MiB by guest_start_cpu. It
 * loads the same GDT and joins the 32-bit path above, on the stack that
 * guest_start_cpu chose for it.
 */
	.code16
	.globl trampoline, trampoline_end
trampoline:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl SMP_TRAMPOLINE + (trampoline_gdt_pointer - trampoline)
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $0x18, $other_start
trampoline_gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
trampoline_end:

	.code32
other_start:
	movl $0x20, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl guest_cpu_stack, %esp
	jmp enter_long_mode

	.section .rodata
	.align 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 0x08: 64-bit code */
	.quad 0x00cf93000000ffff	/* 0x10: data */
	.quad 0x00cf9b000000ffff	/* 0x18: 32-bit code */
	.quad 0x00cf93000000ffff	/* 0x20: 32-bit data */
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
	.long 0
	.align 8
idt_pointer:			/* no limit: any exception is a triple fault */
	.word 0
	.quad 0

	.data
	.align 4096
pml4:
	.quad pdpt + 3
	.fill 511, 8, 0
pdpt:
	.quad directory + 3
	.quad directory + 0x1003
	.quad directory + 0x2003
	.quad directory + 0x3003
	.fill 508, 8, 0
directory:			/* 2 MiB pages: present, writable, large */
	.set address, 0
	.rept 2048
	.quad address + 0x83
	.set address, address + 0x200000
	.endr
	.globl start_info
start_info:
	.long 0

	.bss
	.align 16
	.skip 16384
boot_stack_end:

	.section .note.GNU-stack, "", @progbits
